/** The only source of time. Everything that waits or reads the time takes one, so that tests decide what time it is. */
export interface Clock {
  /** Milliseconds since the Unix epoch, UTC. */
  now(): number;
  /** Runs `task` once after `ms`; the returned function cancels it. A pending timer never keeps the process alive. */
  after(ms: number, task: () => void): () => void;
}

/** setTimeout holds a signed 32-bit delay; anything longer would fire at once. */
const TIMER_MS_MAX = 2 ** 31 - 1;

export const systemClock: Clock = {
  now: () => Date.now(),
  after(ms, task) {
    const timer = setTimeout(task, Math.min(Math.max(ms, 0), TIMER_MS_MAX));
    timer.unref();
    return () => clearTimeout(timer);
  },
};

/** Resolves after `ms`, or at once when `signal` aborts; it never rejects, so the caller checks the signal. */
export const sleep = (clock: Clock, ms: number, signal?: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal?.aborted) return resolve();
    const cancel = clock.after(ms, done);
    function done() {
      cancel();
      signal?.removeEventListener('abort', done);
      resolve();
    }
    signal?.addEventListener('abort', done, { once: true });
  });

/** How long ago a moment was; nothing where the clock was put back since. */
export const elapsedSince = (clock: Clock, ms: number): number => Math.max(0, clock.now() - ms);

/** RFC 3339 in UTC with milliseconds, the one form in which times are stored and sent. */
export const isoTime = (ms: number): string => new Date(ms).toISOString();
