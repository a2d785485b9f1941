import { isoTime } from '../kernel/clock.ts';
import { AppError } from '../kernel/errors.ts';
import { isOperator, type Principal } from '../tenancy/principal.ts';
import type { Tenant } from './model.ts';
import type { RateLimiter } from './ports.ts';

/**
 * Counts a request against its tenant's `requestsPerMinute`. An operator's requests are not the tenant's.
 * @throws RATE_LIMITED with `limit`, `remaining`, `resetAt`, `retryAfterMs`.
 */
export const createRequestLimit =
  (limiter: RateLimiter) =>
  async ({ id, limits }: Tenant, principal: Principal): Promise<void> => {
    const limit = limits.requestsPerMinute;
    if (limit === null || isOperator(principal)) return;
    const { allowed, remaining, retryAfterMs, resetAt } = await limiter.take(id, limit);
    if (allowed) return;
    throw new AppError('RATE_LIMITED', "The tenant's requests of this minute are used up.", {
      limit,
      remaining,
      resetAt: isoTime(resetAt),
      retryAfterMs,
    });
  };
