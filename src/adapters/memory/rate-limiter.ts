import type { RateLimiter } from '../../tenants/ports.ts';
import type { Clock } from '../../kernel/clock.ts';

export function createMemoryRateLimiter(clock: Clock): RateLimiter {
  const rested = new Map<string, number>();
  return {
    take(tenantId, perMinute) {
      const every = 60_000 / perMinute;
      const now = clock.now();
      const at = Math.max(now, rested.get(tenantId) ?? now) + every;
      const allowed = at - 60_000 <= now + 1e-6;
      if (allowed) rested.set(tenantId, at);
      const used = allowed ? at : at - every;
      return Promise.resolve({
        allowed,
        remaining: Math.max(0, Math.floor((60_000 - (used - now)) / every)),
        retryAfterMs: allowed ? 0 : Math.ceil(at - 60_000 - now),
        resetAt: Math.ceil(used),
      });
    },
  };
}
