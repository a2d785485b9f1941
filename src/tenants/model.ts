import type { TenantId } from '../tenancy/tenant-id.ts';

export type TenantStatus = 'ACTIVE' | 'SUSPENDED' | 'DELETING';

/** What a tenant may use at most; null means unlimited. */
export interface UsageLimits {
  readonly requestsPerMinute: number | null;
  readonly concurrentGenerations: number | null;
  readonly tokensPerDay: number | null;
  readonly tokensPerMonth: number | null;
}

export const UNLIMITED: UsageLimits = {
  requestsPerMinute: null,
  concurrentGenerations: null,
  tokensPerDay: null,
  tokensPerMonth: null,
};

export interface Tenant {
  readonly id: TenantId;
  readonly name: string;
  readonly status: TenantStatus;
  /** Ids of this installation's agents; the first one is the default. */
  readonly agentIds: readonly string[];
  readonly knowledgeBaseIds: readonly string[];
  readonly limits: UsageLimits;
  readonly features: readonly { readonly name: string; readonly enabled: boolean }[];
  readonly createdAt: string;
  readonly updatedAt: string;
}
