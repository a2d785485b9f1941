import type { Page, PageRequest } from '../kernel/page.ts';
import type { TenantId } from '../tenancy/tenant-id.ts';
import type { Founding, Removal, Tenant } from './model.ts';

/** Every tenant's configuration. Known to the platform's own code only: it is never handed to a resolver. */
export interface TenantDirectory {
  get(id: TenantId): Promise<Tenant | null>;
  /** What the tenant was set up from; null when there is no such tenant, or it was not set up by `createTenant`. */
  founding(id: TenantId): Promise<Founding | null>;
  /** Stores a tenant that does not exist yet. False when the id is taken, or was once and may never be again: nothing is changed then. */
  create(tenant: Tenant, founding?: Founding): Promise<boolean>;
  /** Stores `next` in place of the version before it. False when that is not the stored one (any more): nothing is changed then. */
  replace(next: Tenant): Promise<boolean>;
  /** Takes a tenant out of `ids`, for nothing to begin in it any more. Its id is never used again from now on. */
  leave(id: TenantId, at: string): Promise<void>;
  /** Whether `leave` was called, now or before its row was gone. */
  hasLeft(id: TenantId): Promise<boolean>;
  /** Removes the tenant itself: nothing is left but that there was one of this id. */
  forget(id: TenantId): Promise<void>;
  /** The tenants in alphabetical order of their ids. */
  page(request: PageRequest): Promise<Page<Tenant>>;
  /** The ids of all tenants but those that left, in alphabetical order. */
  ids(): AsyncIterable<TenantId>;
}

/** This installation's agents, as far as a tenant can be given them. */
export interface AgentOffer {
  /** The ids of all agents. */
  ids(): readonly string[];
  /** The knowledge bases these agents answer from. */
  knowledgeBasesOf(agentIds: readonly string[]): readonly string[];
}

/** Somebody who administers a tenant, as set up with it. */
export interface Administrator {
  readonly id: string;
  readonly name: string;
  readonly email: string;
}

/** The first administrators of tenants, who can sign in. */
export interface FirstAdministrators {
  /** A slow hash. @throws BAD_USER_INPUT for a password that nobody should have. */
  hash(password: string, who: Pick<Administrator, 'name' | 'email'>, tenantId: TenantId): Promise<string>;
  verify(password: string, hash: string): Promise<boolean>;
  /** Stores the administrator, and returns them as they are now. Doing it again changes nothing. */
  ensure(tenantId: TenantId, admin: Administrator & { readonly passwordHash: string }): Promise<Administrator>;
}

/** Who asks. Administration has a lane of its own, so that nobody else's flood keeps it from stopping that flood. */
export type Lane = 'callers' | 'administration';

/** What is limited: of which tenant, by which measure. */
export interface RateSubject {
  readonly tenantId: TenantId;
  readonly meter: 'requests' | 'points';
  readonly lane: Lane;
}

/** Whether something may pass, and what its caller should know of that. */
export interface RateVerdict {
  readonly allowed: boolean;
  /** Units that may follow at once. */
  readonly remaining: number;
  /** How long until as much may pass, in milliseconds; 0 when it may at once. */
  readonly retryAfterMs: number;
  /** When the whole limit is there again, in milliseconds since the Unix epoch. */
  readonly resetAt: number;
}

/**
 * Units per minute of each subject, by the generic cell rate algorithm: `perMinute` at once when rested, and then one every
 * 60 s / `perMinute`. Unlike a fixed window it never lets twice the limit pass at a window's border.
 */
export interface RateLimiter {
  /** Takes `cost` units, or none where there are not as many left. `cost` is at most `perMinute`, or it never passes. */
  take(subject: RateSubject, perMinute: number, cost?: number): Promise<RateVerdict>;
}

/** The removals of tenants, begun, under way and done. */
export interface RemovalStore {
  /** Enters a removal; one that is there already stays as it is. */
  begin(tenantId: TenantId, requestedAt: string): Promise<void>;
  get(tenantId: TenantId): Promise<Removal | null>;
  /** Those that are not done. */
  open(): Promise<readonly Removal[]>;
  /** Takes a removal for this process, or keeps it: nobody else works on it until `leaseUntil`. Null while another process has it. */
  claim(tenantId: TenantId, now: number, leaseUntil: number): Promise<Removal | null>;
  /** Stores how far it is. False when another process has taken it over. */
  save(removal: Removal, leaseUntil: number): Promise<boolean>;
  /** Gives it back for any process to take, if this one still has it. */
  release(tenantId: TenantId): Promise<void>;
  /** Takes back a removal of which nothing was done. */
  cancel(tenantId: TenantId): Promise<void>;
}

/** A part of the installation's rows, and what was removed of it. */
export interface SweptPart {
  readonly rowsRead: number;
  readonly rowsRemoved: number;
  /** Where the next part begins; null behind the last one. */
  readonly next: string | null;
}

/** Everything that is stored, whosever it is. */
export interface AllRows {
  /** Looks at the rows from a place on (null: from the first), and removes those of a tenant, whatever they are; the tenant's own row stays. */
  readonly removeSome: (tenantId: TenantId, place: string | null) => Promise<SweptPart>;
}
