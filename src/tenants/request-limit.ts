import { isoTime } from '../kernel/clock.ts';
import { AppError } from '../kernel/errors.ts';
import { isOperator, type Principal } from '../tenancy/principal.ts';
import type { Tenant } from './model.ts';
import type { Lane, RateLimiter, RateSubject } from './ports.ts';

/** What is left of a limit after something was taken from it. */
export interface Budget {
  readonly limit: number;
  readonly remaining: number;
  readonly resetAt: string;
}

const REFUSALS = {
  requests: "The tenant's requests of this minute are used up.",
  points: "The tenant's points of this minute do not suffice for the operation.",
} as const satisfies Record<RateSubject['meter'], string>;

const laneOf = ({ roles }: Principal): Lane => (roles.includes('TENANT_ADMIN') ? 'administration' : 'callers');

/**
 * Counts requests against their tenant's `requestsPerMinute`, and what they cost against its points: `pointsPerMinute` of the tenant, or of
 * the installation. An operator's requests are not the tenant's. An operation that costs more than a minute's points takes all of them.
 */
export function createRequestLimits(limiter: RateLimiter, installationPointsPerMinute: number | null) {
  async function take(subject: RateSubject, limit: number, cost: number): Promise<Budget> {
    const { allowed, remaining, retryAfterMs, resetAt } = await limiter.take(subject, limit, Math.min(cost, limit));
    const budget = { limit, remaining, resetAt: isoTime(resetAt) };
    if (allowed) return budget;
    throw new AppError('RATE_LIMITED', REFUSALS[subject.meter], { ...budget, retryAfterMs });
  }

  /**
   * Returns what is left of the points; null where they are not limited.
   * @throws RATE_LIMITED with `limit`, `remaining`, `resetAt`, `retryAfterMs`.
   */
  return async ({ id, limits }: Tenant, principal: Principal, points: number): Promise<Budget | null> => {
    if (isOperator(principal)) return null;
    const whose = { tenantId: id, lane: laneOf(principal) };
    if (limits.requestsPerMinute !== null) await take({ ...whose, meter: 'requests' }, limits.requestsPerMinute, 1);
    const pointsPerMinute = limits.pointsPerMinute ?? installationPointsPerMinute;
    return pointsPerMinute === null ? null : take({ ...whose, meter: 'points' }, pointsPerMinute, points);
  };
}
