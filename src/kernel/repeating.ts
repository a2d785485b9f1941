import type { Clock } from './clock.ts';

/** Runs `task` every `ms`, however long it takes; the returned function ends that. */
export function every(clock: Clock, ms: number, task: () => void): () => void {
  let cancel = clock.after(ms, run);
  function run() {
    cancel = clock.after(ms, run);
    task();
  }
  return () => cancel();
}

export interface Repetition {
  readonly clock: Clock;
  /** From the end of one round to the beginning of the next. */
  readonly everyMs: number;
  /** One round. `stopping` aborts when there are to be no more: a round that waits ends then. */
  readonly task: (stopping: AbortSignal) => Promise<unknown>;
  /** Told of a round that failed; the next one comes all the same. */
  readonly failed: (error: unknown) => void;
}

/** Begins the task now, and again and again. The returned function stops that, and resolves when no round is under way. */
export function repeat({ clock, everyMs, task, failed }: Repetition): () => Promise<void> {
  const stopping = new AbortController();
  let cancel = () => {};
  let round = Promise.resolve();
  const run = () => {
    round = task(stopping.signal)
      .catch(failed)
      .then(() => {
        if (!stopping.signal.aborted) cancel = clock.after(everyMs, run);
      });
  };
  run();
  return () => {
    stopping.abort();
    cancel();
    return round;
  };
}

/** Work that is done when somebody asks for it: one round at a time, and one more if it was asked for meanwhile. */
export interface OnDemand {
  ask(): void;
  running(): boolean;
  /** Resolves when no round is under way. */
  idle(): Promise<void>;
}

/** `round` must not fail. */
export function onDemand(round: () => Promise<void>): OnDemand {
  let wanted = false;
  let rounds: Promise<void> | null = null;
  async function run() {
    await Promise.resolve(); // what is asked for in one go is done in one go
    while (wanted) {
      wanted = false;
      await round();
    }
    rounds = null;
  }
  return {
    ask() {
      wanted = true;
      rounds ??= run();
    },
    running: () => rounds !== null,
    idle: () => rounds ?? Promise.resolve(),
  };
}
