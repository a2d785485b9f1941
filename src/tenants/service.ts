import { AppError } from '../kernel/errors.ts';
import type { Clock } from '../kernel/clock.ts';
import { createRecentReads } from '../kernel/recent-reads.ts';
import { isOperator, type Principal } from '../tenancy/principal.ts';
import { actingTenant, tenantInvalid } from '../tenancy/scope.ts';
import { PLATFORM, type TenantId } from '../tenancy/tenant-id.ts';
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
  /** Whether this instance has seen the tenant being removed. */
  readonly isLeaving: (id: TenantId) => boolean;
  /** Whether the tenant is being removed, or was. Of one that never was there is nothing to be told: false. */
  readonly isGone: (id: TenantId) => Promise<boolean>;
  /** Told of a tenant that this instance has just changed: it knows it at once. */
  readonly changed: (tenant: Tenant) => void;
}

export interface TenantServiceDependencies {
  readonly directory: Pick<TenantDirectory, 'get' | 'hasLeft'>;
  readonly clock: Clock;
}

export function createTenantService({ directory, clock }: TenantServiceDependencies): TenantService {
  const recent = createRecentReads<TenantId, Tenant | null>({
    clock,
    maxAgeMs: TENANT_CACHE_MS,
    keysMax: TENANTS_CACHED_MAX,
  });
  const leaving = new Set<TenantId>();
  function noted(tenant: Tenant | null): Tenant | null {
    if (tenant?.status === 'DELETING') leaving.add(tenant.id);
    return tenant;
  }
  const find: TenantService['find'] = (id) => recent.get(id, async () => noted(await directory.get(id)));

  return {
    find,
    async isGone(id) {
      if (id === PLATFORM) return false;
      const tenant = await find(id);
      return tenant ? tenant.status === 'DELETING' : directory.hasLeft(id);
    },
    isLeaving: (id) => leaving.has(id),
    changed: (tenant) => recent.put(tenant.id, noted(tenant)),
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
