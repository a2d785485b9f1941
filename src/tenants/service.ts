import { AppError } from '../kernel/errors.ts';
import type { Clock } from '../kernel/clock.ts';
import { createRecentReads } from '../kernel/recent-reads.ts';
import { isOperator, type Principal } from '../tenancy/principal.ts';
import { actingTenant, tenantInvalid } from '../tenancy/scope.ts';
import type { TenantId } from '../tenancy/tenant-id.ts';
import type { Tenant } from './model.ts';
import type { TenantDirectory } from './ports.ts';

/** How long a tenant's configuration may be out of date on an instance, in milliseconds. */
export const TENANT_CACHE_MS = 25_000;
const TENANTS_CACHED_MAX = 10_000;

export interface TenantService {
  /** The tenant as it was at most 25 s ago, or null. */
  find(id: TenantId): Promise<Tenant | null>;
  /**
   * The tenant a caller acts in, checked to exist and to be in use. `named` is the `x-tenant-id` of the call.
   * @throws TENANT_REQUIRED, TENANT_INVALID, FORBIDDEN; TENANT_SUSPENDED for everyone but operators.
   */
  enter(principal: Principal, named: string | null): Promise<Tenant>;
  /** Told of a tenant that this instance has just changed: it knows it at once. */
  readonly changed: (tenant: Tenant) => void;
}

export interface TenantServiceDependencies {
  readonly directory: Pick<TenantDirectory, 'get'>;
  readonly clock: Clock;
}

export function createTenantService({ directory, clock }: TenantServiceDependencies): TenantService {
  const recent = createRecentReads<TenantId, Tenant | null>({
    clock,
    maxAgeMs: TENANT_CACHE_MS,
    keysMax: TENANTS_CACHED_MAX,
  });
  const find: TenantService['find'] = (id) => recent.get(id, () => directory.get(id));

  return {
    find,
    changed: (tenant) => recent.put(tenant.id, tenant),
    async enter(principal, named) {
      const tenant = await find(actingTenant(principal, named));
      if (tenant === null) throw tenantInvalid();
      if (tenant.status !== 'ACTIVE' && !isOperator(principal)) {
        throw new AppError('TENANT_SUSPENDED', 'This tenant is suspended.');
      }
      return tenant;
    },
  };
}
