import type { Clock } from '../../kernel/clock.ts';
import { AppError } from '../../kernel/errors.ts';

export interface Deadline {
  /** Aborts when the time is over, or when the caller has gone, with the error that says so. */
  readonly signal: AbortSignal;
  /** The operation has ended by itself. */
  cancel(): void;
}

/** Why an operation ends whose caller has gone: said to nobody but the log. */
export const callerGone = (): AppError => new AppError('INTERRUPTED', 'The caller has gone.');

/** The end that is set to an operation. `gone` aborts when nobody waits for its answer any more. */
export function startDeadline(clock: Clock, ms: number, gone: AbortSignal): Deadline {
  const ending = new AbortController();
  const tooLate = () => new AppError('TIMEOUT', 'The operation took too long, and was given up.', { limitMs: ms });
  const cancelTimer = clock.after(ms, () => ending.abort(tooLate()));
  const leave = () => ending.abort(gone.reason);
  if (gone.aborted) leave();
  gone.addEventListener('abort', leave, { once: true });
  return {
    signal: ending.signal,
    cancel() {
      cancelTimer();
      gone.removeEventListener('abort', leave);
    },
  };
}
