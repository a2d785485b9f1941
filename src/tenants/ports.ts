import type { TenantId } from '../tenancy/tenant-id.ts';
import type { Tenant } from './model.ts';

/** Every tenant's configuration. Known to the platform's own code only: it is never handed to a resolver. */
export interface TenantDirectory {
  get(id: TenantId): Promise<Tenant | null>;
  /** Stores a tenant that does not exist yet. False when the id is taken: nothing is changed then. */
  create(tenant: Tenant): Promise<boolean>;
  /** The ids of all tenants, in alphabetical order. */
  ids(): AsyncIterable<TenantId>;
}

/** Whether a request may pass, and what its caller should know of that. */
export interface RateVerdict {
  readonly allowed: boolean;
  /** Requests that may follow at once. */
  readonly remaining: number;
  /** How long until the next request may pass, in milliseconds; 0 when it may at once. */
  readonly retryAfterMs: number;
  /** When the whole limit is there again, in milliseconds since the Unix epoch. */
  readonly resetAt: number;
}

/**
 * Requests per minute of each tenant, by the generic cell rate algorithm: `perMinute` at once when rested, and then one every
 * 60 s / `perMinute`. Unlike a fixed window it never lets twice the limit pass at a window's border.
 */
export interface RateLimiter {
  take(tenantId: TenantId, perMinute: number): Promise<RateVerdict>;
}
