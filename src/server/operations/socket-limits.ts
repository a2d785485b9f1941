import type { RequestContext } from '../../context.ts';
import { createCounts, type Share } from './counts.ts';

/** How many WebSockets may be open at a time, in one instance. */
export interface SocketLimits {
  /** Of one user; without credentials, of one address. */
  readonly perUser: number;
  readonly perTenant: number;
}

export type SocketCounts = ReturnType<typeof createSocketCounts>;

/** Counts the WebSockets that are open here, by who has opened them. */
export function createSocketCounts({ perUser, perTenant }: SocketLimits) {
  const counts = createCounts();

  function shares({ ipAddress, identity: { principal } }: RequestContext): readonly Share[] {
    if (!principal) return [{ key: `address ${ipAddress}`, of: 'address', limit: perUser }];
    const { userId, tenantId } = principal;
    const user = { key: `user ${tenantId} ${userId}`, of: 'user', limit: perUser };
    return tenantId === null ? [user] : [user, { key: `tenant ${tenantId}`, of: 'tenant', limit: perTenant }];
  }

  return {
    /** Counts one more; null where as many are open as may be. The returned function, called once, counts it no longer. */
    enter(context: RequestContext): (() => void) | null {
      const taken = shares(context);
      return counts.full(taken) ? null : counts.enter(taken);
    },
    size: () => counts.size(),
  };
}
