import type { TenantId } from '../tenancy/tenant-id.ts';

export type TenantStatus = 'ACTIVE' | 'SUSPENDED' | 'DELETING';

/** What a tenant may use at most; null means unlimited. */
export interface UsageLimits {
  readonly requestsPerMinute: number | null;
  /** Null: as many as the installation grants every tenant. */
  readonly pointsPerMinute: number | null;
  readonly concurrentGenerations: number | null;
  readonly tokensPerDay: number | null;
  readonly tokensPerMonth: number | null;
}

export const UNLIMITED: UsageLimits = {
  requestsPerMinute: null,
  pointsPerMinute: null,
  concurrentGenerations: null,
  tokensPerDay: null,
  tokensPerMonth: null,
};

export interface FeatureFlag {
  readonly name: string;
  readonly enabled: boolean;
}

export interface Tenant {
  readonly id: TenantId;
  readonly name: string;
  readonly status: TenantStatus;
  /** Ids of this installation's agents; the first one is the default. */
  readonly agentIds: readonly string[];
  readonly knowledgeBaseIds: readonly string[];
  readonly limits: UsageLimits;
  /** Percentages of its token limits at which it is alerted; null: those of the installation. */
  readonly alertPercentages: readonly number[] | null;
  readonly features: readonly FeatureFlag[];
  /** Origins of pages that may call the API for its users, beside those of the installation. */
  readonly allowedOrigins: readonly string[];
  /** How long a conversation is kept after its last activity, in days; null keeps it for ever. */
  readonly conversationRetentionDays: number | null;
  readonly createdAt: string;
  readonly updatedAt: string;
  /** Grows by one with every change of the configuration or the status. */
  readonly version: number;
}

/** Whether somebody may be known in it, if only to be told that it is suspended. */
export const isInUse = (tenant: Tenant | null): boolean => tenant !== null && tenant.status !== 'DELETING';

/** What a tenant is set up from: kept beside it, so that the same request can be told from another one, and a set-up that broke off be finished. */
export interface Founding {
  readonly name: string;
  readonly adminName: string;
  readonly adminEmail: string;
  /** Null: all that the installation had then. */
  readonly agentIds: readonly string[] | null;
  /** Null: those of its agents. */
  readonly knowledgeBaseIds: readonly string[] | null;
  readonly limits: UsageLimits;
  readonly conversationRetentionDays: number | null;
  /** The first administrator's user id and password hash (a PHC string; slow, so that it gives the password away to nobody). */
  readonly adminId: string;
  readonly passwordHash: string;
}

/** WAITING: for what was begun before the tenant was closed to end. VERIFYING: nothing was left, and that is looked at once more. */
export type RemovalPhase = 'WAITING' | 'REMOVING' | 'VERIFYING' | 'DONE';

/** How far the removal of a tenant is. */
export interface Removal {
  readonly tenantId: TenantId;
  readonly phase: RemovalPhase;
  readonly requestedAt: string;
  /** Rows removed so far. */
  readonly rowsRemoved: number;
  /** Rows of the installation that the current pass has looked at, or the last one did. */
  readonly rowsRead: number;
  /** Rows that the current pass found. */
  readonly rowsFound: number;
  /** Where the current pass goes on; null where none has begun. */
  readonly place: string | null;
  /** Not before this moment, in milliseconds since the Unix epoch, does the last pass begin; null as long as rows are found. */
  readonly verifyFrom: number | null;
  readonly doneAt: string | null;
}
