import type { Clock } from '../../kernel/clock.ts';

/** Something that runs until it is closed or dies. */
export interface Supervised {
  /** Settles at its end: undefined after `close()`, else why it died. */
  exited: Promise<Error | undefined>;
  close(): Promise<void>;
}

export interface SupervisorEvents<T> {
  onCrash(error: Error): void;
  onRestart(started: T): void;
  /** Too many crashes; nothing is restarted any more. */
  onGiveUp(crashes: number, error: Error): void;
}

export interface Supervisor {
  /** Ends it for good. True when it closed in good order, false when it had died or died closing. */
  stop(): Promise<boolean>;
}

const CRASHES_MAX = 5;
const CRASH_WINDOW_MS = 60_000;
const BACKOFF_FIRST_MS = 50;

/**
 * Restarts `first`, and then whatever `restart` made, each time it dies, after 50, 100, 200, 400 ms.
 *
 * The fifth death within a minute is the last: something is wrong that restarting does not mend, and trying on
 * would hide it. A restart that fails counts as a death.
 */
export const supervise = <T extends Supervised>(
  first: T,
  restart: () => Promise<T>,
  clock: Clock,
  events: SupervisorEvents<T>,
): Supervisor => {
  let current: T | undefined;
  let crashedAt: number[] = [];
  let stopping = false;
  let cancelRestart: (() => void) | undefined;
  let restarting: Promise<void> | undefined;

  const watch = (running: T): void => {
    current = running;
    void running.exited.then((error) => {
      if (!stopping) crashed(error ?? new Error('ended without being asked to'));
    });
  };

  const crashed = (error: Error): void => {
    current = undefined;
    const now = clock.now();
    crashedAt = [...crashedAt.filter((at) => now - at < CRASH_WINDOW_MS), now];
    events.onCrash(error);
    if (crashedAt.length >= CRASHES_MAX) return events.onGiveUp(crashedAt.length, error);
    // The clock's timers never keep a process alive; one that runs nothing but the engine would end here in silence.
    const alive = setInterval(() => undefined, CRASH_WINDOW_MS);
    const cancel = clock.after(BACKOFF_FIRST_MS * 2 ** (crashedAt.length - 1), () => {
      clearInterval(alive);
      restarting = tryAgain();
    });
    cancelRestart = () => {
      clearInterval(alive);
      cancel();
    };
  };

  const tryAgain = async (): Promise<void> => {
    try {
      watch(await restart());
      if (!stopping && current) events.onRestart(current);
    } catch (error) {
      if (!stopping) crashed(error as Error);
    }
  };

  watch(first);
  return {
    async stop() {
      stopping = true;
      cancelRestart?.();
      await restarting;
      return (
        (await current?.close().then(
          () => true,
          () => false,
        )) ?? false
      );
    },
  };
};
