import type { TenantId } from '../tenancy/tenant-id.ts';

export type AlertLimit = 'TOKENS_PER_DAY' | 'TOKENS_PER_MONTH';

/** NONE: there was no webhook to tell. PARKED: every try failed, and nobody tries any more until somebody asks for it. */
export type DeliveryState = 'NONE' | 'PENDING' | 'DELIVERED' | 'PARKED';

export interface AlertDelivery {
  readonly state: DeliveryState;
  /** Tries that were begun. */
  readonly attempts: number;
  /** When it is tried next; null unless PENDING. */
  readonly nextAttemptAt: string | null;
  readonly deliveredAt: string | null;
  /** Why the last try failed, in words that give nothing of the receiver's answer away. */
  readonly lastError: string | null;
}

/** A share of a limit that was reached. Of one period, limit and percentage a tenant has one, whatever the limit is then. */
export interface UsageAlert {
  readonly tenantId: TenantId;
  /** `alert-` and a ULID; for receivers, the name of the message. */
  readonly id: string;
  readonly limit: AlertLimit;
  readonly percentage: number;
  /** The UTC day or month: `2026-11-20`, `2026-11`. */
  readonly period: string;
  readonly limitTokens: number;
  /** What was used when the alert was recorded. */
  readonly usedTokens: number;
  readonly at: string;
  readonly delivery: AlertDelivery;
}

/** What makes an alert the one it is, beside its tenant. */
export const alertName = ({ period, limit, percentage }: Pick<UsageAlert, 'period' | 'limit' | 'percentage'>): string =>
  `${period}.${limit}.${percentage}`;

/** Where a tenant is told of its alerts. The secret is sealed: the store alone does not let anybody sign. */
export interface Webhook {
  readonly url: string;
  readonly sealedSecret: string;
  readonly setAt: string;
}

/** How one tenant is alerted. */
export interface AlertSettings {
  readonly tenantId: TenantId;
  /** Percentages of each limit, ascending. */
  readonly percentages: readonly number[];
  readonly webhookUrl: string | null;
  readonly webhookSetAt: string | null;
}
