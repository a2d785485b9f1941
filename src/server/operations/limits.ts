import type { CostCeilings } from './ceilings.ts';
import type { SocketLimits } from './socket-limits.ts';
import type { SubscriptionLimits } from './subscription-limits.ts';

/** What the installation lets operations cost. */
export interface OperationLimits {
  readonly ceilings: CostCeilings;
  /** How long an operation may take, and each event of a subscription, in milliseconds. */
  readonly timeoutMs: number;
  /** Points that each tenant may use in a minute where its own limits do not say; null: any number. */
  readonly pointsPerMinute: number | null;
  readonly subscriptions: SubscriptionLimits;
  readonly sockets: SocketLimits;
}
