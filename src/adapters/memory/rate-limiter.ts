import type { Clock } from '../../kernel/clock.ts';
import type { TenantId } from '../../tenancy/tenant-id.ts';
import type { RateLimiter } from '../../tenants/ports.ts';

const MINUTE_MICROS = 60_000_000;
/** How often tenants that are rested are forgotten, in milliseconds: by then everyone who asked nothing more is. */
const TIDY_EVERY_MS = 60_000;

export interface MemoryRateLimiter extends RateLimiter {
  /** Tenants that are remembered at the moment. */
  count(): number;
}

/**
 * The limits of one process, by the generic cell rate algorithm: all that is known of a tenant is the moment at which it is rested,
 * and every request moves that further away. In whole microseconds, so that sums are exact.
 */
export function createMemoryRateLimiter(clock: Clock): MemoryRateLimiter {
  const restedAt = new Map<TenantId, number>();
  let tidiedAt = clock.now();

  function tidy(nowMs: number) {
    if (nowMs - tidiedAt < TIDY_EVERY_MS) return;
    tidiedAt = nowMs;
    for (const [tenantId, rested] of restedAt) if (rested <= nowMs * 1000) restedAt.delete(tenantId);
  }

  return {
    take(tenantId, perMinute) {
      const nowMs = clock.now();
      tidy(nowMs);
      const now = nowMs * 1000;
      const cost = Math.floor(MINUTE_MICROS / perMinute);
      const limit = cost * perMinute;
      let rested = Math.max(restedAt.get(tenantId) ?? 0, now);
      const allowed = rested + cost - now <= limit;
      if (allowed) restedAt.set(tenantId, (rested += cost));
      const rest = rested - now;
      return Promise.resolve({
        allowed,
        remaining: Math.max(0, Math.floor((limit - rest) / cost)),
        retryAfterMs: Math.max(0, Math.ceil((rest + cost - limit) / 1000)),
        resetAt: nowMs + Math.ceil(rest / 1000),
      });
    },
    count: () => restedAt.size,
  };
}
