import type { Clock } from '../../kernel/clock.ts';
import type { RateLimiter, RateSubject } from '../../tenants/ports.ts';

const MINUTE_MICROS = 60_000_000;
/** How often those who are rested are forgotten, in milliseconds: by then everyone who asked nothing more is. */
const TIDY_EVERY_MS = 60_000;

const nameOf = ({ tenantId, meter, lane }: RateSubject): string => `${tenantId} ${meter} ${lane}`;

export interface MemoryRateLimiter extends RateLimiter {
  /** Subjects that are remembered at the moment. */
  count(): number;
}

/**
 * The limits of one process, by the generic cell rate algorithm: all that is known of a subject is the moment at which it is rested,
 * and everything it takes moves that further away. In whole microseconds, so that sums are exact.
 */
export function createMemoryRateLimiter(clock: Clock): MemoryRateLimiter {
  const restedAt = new Map<string, number>();
  let tidiedAt = clock.now();

  function tidy(nowMs: number) {
    if (nowMs - tidiedAt < TIDY_EVERY_MS) return;
    tidiedAt = nowMs;
    for (const [name, rested] of restedAt) if (rested <= nowMs * 1000) restedAt.delete(name);
  }

  return {
    take(subject, perMinute, units = 1) {
      const name = nameOf(subject);
      const nowMs = clock.now();
      tidy(nowMs);
      const now = nowMs * 1000;
      const interval = Math.floor(MINUTE_MICROS / perMinute);
      const limit = interval * perMinute;
      const cost = interval * units;
      let rested = Math.max(restedAt.get(name) ?? 0, now);
      const allowed = rested + cost - now <= limit;
      if (allowed) restedAt.set(name, (rested += cost));
      const rest = rested - now;
      return Promise.resolve({
        allowed,
        remaining: Math.max(0, Math.floor((limit - rest) / interval)),
        retryAfterMs: Math.max(0, Math.ceil((rest + cost - limit) / 1000)),
        resetAt: nowMs + Math.ceil(rest / 1000),
      });
    },
    count: () => restedAt.size,
  };
}
