import type { Clock } from '../../kernel/clock.ts';

/** Runs `task` every `ms`; the returned function ends that. */
export function every(clock: Clock, ms: number, task: () => void): () => void {
  let cancel = clock.after(ms, run);
  function run() {
    cancel = clock.after(ms, run);
    task();
  }
  return () => cancel();
}
