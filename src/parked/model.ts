import type { TenantId } from '../tenancy/tenant-id.ts';

/** What can be put aside. */
export type ParkedWorkKind = 'TURN' | 'USAGE_ALERT';

/** A piece of work that failed again and again and was put aside, with all that is needed to do it later: a dead letter. */
export interface ParkedWork {
  readonly tenantId: TenantId;
  /** The turn's id, or the alert's. */
  readonly id: string;
  readonly kind: ParkedWorkKind;
  readonly parkedAt: string;
  /** The conversation it belongs to; null for work that belongs to none. */
  readonly conversationId: string | null;
}
