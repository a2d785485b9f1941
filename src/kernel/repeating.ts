import type { Clock } from './clock.ts';

export interface Repetition {
  readonly clock: Clock;
  /** From the end of one round to the beginning of the next. */
  readonly everyMs: number;
  readonly task: () => Promise<unknown>;
  /** Told of a round that failed; the next one comes all the same. */
  readonly failed: (error: unknown) => void;
}

/** Begins the task now, and again and again. The returned function stops that, and resolves when no round is under way. */
export function repeat({ clock, everyMs, task, failed }: Repetition): () => Promise<void> {
  let stopped = false;
  let cancel = () => {};
  let round = Promise.resolve();
  const run = () => {
    round = task()
      .catch(failed)
      .then(() => {
        if (!stopped) cancel = clock.after(everyMs, run);
      });
  };
  run();
  return () => {
    stopped = true;
    cancel();
    return round;
  };
}
