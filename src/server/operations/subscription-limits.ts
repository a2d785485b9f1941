import type { RequestContext } from '../../context.ts';
import { AppError } from '../../kernel/errors.ts';
import { createCounts, type Share } from './counts.ts';

/** How many subscriptions may be open at a time, in one instance. */
export interface SubscriptionLimits {
  readonly perConnection: number;
  readonly perUser: number;
  readonly perTenant: number;
}

export type SubscriptionCounts = ReturnType<typeof createSubscriptionCounts>;

/** Counts the subscriptions that are open here, by connection, user and tenant. */
export function createSubscriptionCounts(limits: SubscriptionLimits) {
  const counts = createCounts();

  /** What a subscription counts for. A connection is known by the signal of its end, which its operations have in common. */
  function shares({ signal, identity: { principal } }: RequestContext): readonly Share[] {
    const connection = { key: signal, of: 'connection', limit: limits.perConnection };
    if (!principal) return [connection];
    const { userId, tenantId } = principal;
    const user = { key: `user ${tenantId} ${userId}`, of: 'user', limit: limits.perUser };
    return tenantId === null
      ? [connection, user]
      : [connection, user, { key: `tenant ${tenantId}`, of: 'tenant', limit: limits.perTenant }];
  }

  return {
    /**
     * Counts one more, before anything is done for it. The returned function, called once, counts it no longer.
     * @throws SUBSCRIPTION_LIMIT with `limit` and `of`: connection, user or tenant.
     */
    enter(context: RequestContext): () => void {
      const taken = shares(context);
      const full = counts.full(taken);
      if (full) {
        const details = { limit: full.limit, of: full.of };
        throw new AppError('SUBSCRIPTION_LIMIT', 'As many subscriptions are open as may be.', details);
      }
      return counts.enter(taken);
    },
    /** What is counted at the moment, connections, users and tenants together. */
    size: () => counts.size(),
  };
}
