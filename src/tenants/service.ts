import { AppError } from '../kernel/errors.ts';
import type { Clock } from '../kernel/clock.ts';
import { isOperator, type Principal } from '../tenancy/principal.ts';
import { actingTenant, tenantInvalid } from '../tenancy/scope.ts';
import type { TenantId } from '../tenancy/tenant-id.ts';
import type { Tenant } from './model.ts';
import type { TenantDirectory } from './ports.ts';

/** How long a tenant's configuration may be out of date on an instance, in milliseconds. */
export const TENANT_CACHE_MS = 30_000;
/** More tenants than this and the cache starts anew: it bounds memory, nothing else. */
const TENANTS_CACHED_MAX = 10_000;

export interface TenantService {
  /** The tenant as it was at most 30 s ago, or null. */
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
  const cache = new Map<TenantId, { readonly tenant: Promise<Tenant | null>; readonly readAt: number }>();

  const find: TenantService['find'] = (id) => {
    const cached = cache.get(id);
    if (cached && clock.now() - cached.readAt < TENANT_CACHE_MS) return cached.tenant;
    if (cache.size >= TENANTS_CACHED_MAX) cache.clear();
    const entry = { tenant: directory.get(id), readAt: clock.now() };
    cache.set(id, entry);
    // A failed read is not an answer: the next caller asks again.
    entry.tenant.catch(() => cache.get(id) === entry && cache.delete(id));
    return entry.tenant;
  };

  return {
    find,
    changed: (tenant) => void cache.set(tenant.id, { tenant: Promise.resolve(tenant), readAt: clock.now() }),
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
