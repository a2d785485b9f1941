import type { Clock } from '../../kernel/clock.ts';
import { createMemoryAttemptCounters } from './attempt-counters.ts';
import { createMemoryGenerationSlots } from './generation-slots.ts';
import { createMemoryRateLimiter } from './rate-limiter.ts';
import { createMemoryStreamLogs } from './stream-log.ts';
import { createMemoryTurnSignals } from './turn-signals.ts';
import { createMemoryUsageChanges } from './usage-changes.ts';

/** What instances share, for a process that is the only one. */
export const createMemoryCoordination = (clock: Clock) => ({
  streamLogs: createMemoryStreamLogs(clock),
  signals: createMemoryTurnSignals(),
  slots: createMemoryGenerationSlots(),
  limiter: createMemoryRateLimiter(clock),
  attemptCounters: createMemoryAttemptCounters(),
  usageChanges: createMemoryUsageChanges(),
  // What is held in memory of a tenant is gone by itself in a quarter of an hour.
  forget: () => Promise.resolve(),
  ready: () => true,
  close: () => Promise.resolve(),
});
