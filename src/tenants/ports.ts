import type { TenantId } from '../tenancy/tenant-id.ts';
import type { Tenant } from './model.ts';

/** Every tenant's configuration. Known to the platform's own code only: it is never handed to a resolver. */
export interface TenantDirectory {
  get(id: TenantId): Promise<Tenant | null>;
  /** Stores a tenant that does not exist yet. False when the id is taken: nothing is changed then. */
  create(tenant: Tenant): Promise<boolean>;
}
