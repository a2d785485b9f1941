import type { Role } from '../tenancy/principal.ts';
import type { TenantId } from '../tenancy/tenant-id.ts';

/** A person or program of a tenant (or of the platform), without anything secret. */
export interface User {
  readonly tenantId: TenantId;
  readonly id: string;
  readonly name: string;
  readonly email: string | null;
  readonly roles: readonly Role[];
}
