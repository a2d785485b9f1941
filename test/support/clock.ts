import type { Clock } from '../../src/kernel/clock.ts';

/** A clock that stands still until it is told to move. Timers run in the order of their times, each at its own time. */
export interface TestClock extends Clock {
  /** Moves the time forward, running what becomes due on the way, and lets everything that follows from it settle. */
  advance(ms: number): Promise<void>;
  /** Moves the time forward as it moves for a machine that slept: what became due meanwhile runs once, and late. */
  skip(ms: number): Promise<void>;
  /** How many timers are set: all, or those that were set for so long. */
  pending(ms?: number): number;
}

/** Lets promises and sockets on this machine go as far as they can without a timer. */
export const settle = async (turns = 20): Promise<void> => {
  for (let turn = 0; turn < turns; turn++) await new Promise((resolve) => setImmediate(resolve));
};

export function createTestClock(startMs = Date.parse('2026-11-20T12:00:00.000Z')): TestClock {
  const timers = new Set<{ readonly at: number; readonly ms: number; readonly task: () => void }>();
  let now = startMs;

  return {
    now: () => now,
    after(ms, task) {
      const timer = { at: now + Math.max(0, ms), ms, task };
      timers.add(timer);
      return () => timers.delete(timer);
    },
    async advance(ms) {
      const end = now + ms;
      for (;;) {
        const [next] = [...timers].filter((timer) => timer.at <= end).sort((a, b) => a.at - b.at);
        if (!next) break;
        timers.delete(next);
        now = next.at;
        next.task();
        await settle();
      }
      now = end;
      await settle();
    },
    async skip(ms) {
      now += ms;
      const due = [...timers].filter((timer) => timer.at <= now).sort((a, b) => a.at - b.at);
      for (const timer of due) if (timers.delete(timer)) timer.task();
      await settle();
    },
    pending: (ms) => [...timers].filter((timer) => ms === undefined || timer.ms === ms).length,
  };
}
