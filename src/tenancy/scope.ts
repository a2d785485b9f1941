import { AppError } from '../kernel/errors.ts';
import { isOperator, type Principal } from './principal.ts';
import { parseTenantId, type TenantId } from './tenant-id.ts';

/** A principal inside one tenant: the only thing a service needs to know about its caller. */
export interface TenantScope {
  readonly tenantId: TenantId;
  readonly principal: Principal;
}

/**
 * The tenant a call acts in: the caller's own, or for an operator the one named by `x-tenant-id`.
 *
 * @throws FORBIDDEN when anybody but an operator names another tenant, whether that tenant exists or not.
 * @throws TENANT_REQUIRED when an operator names none; TENANT_INVALID when the name cannot be a tenant's.
 */
export function actingTenant(principal: Principal, named: string | null): TenantId {
  if (isOperator(principal)) {
    if (named === null) throw new AppError('TENANT_REQUIRED', 'Name the tenant to act in with the header x-tenant-id.');
    const tenantId = parseTenantId(named);
    if (tenantId === null) throw tenantInvalid();
    return tenantId;
  }
  if (principal.tenantId === null) throw tenantInvalid();
  if (named !== null && named !== principal.tenantId) {
    throw new AppError('FORBIDDEN', 'Only a platform operator may act in another tenant.');
  }
  return principal.tenantId;
}

export const tenantInvalid = (): AppError => new AppError('TENANT_INVALID', 'There is no such tenant.');

/** Whether the caller sees everything in the tenant, rather than only what is their own. */
export const seesAll = ({ principal }: TenantScope): boolean =>
  isOperator(principal) || principal.roles.includes('TENANT_ADMIN');

export const owns = (scope: TenantScope, ownerId: string): boolean => scope.principal.userId === ownerId;

export const maySee = (scope: TenantScope, ownerId: string): boolean => owns(scope, ownerId) || seesAll(scope);

/** Refuses what only the owner may do. The caller may see the object (it would be NOT_FOUND otherwise), so FORBIDDEN gives nothing away. */
export function requireOwner(scope: TenantScope, ownerId: string, action: string): void {
  if (!owns(scope, ownerId)) throw new AppError('FORBIDDEN', `Only the conversation's owner may ${action}.`);
}
