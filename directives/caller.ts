import { AppError } from '../src/kernel/errors.ts';
import type { ContextBinder, RequestContext } from '../src/context.ts';
import type { ApiKeyScope, Principal, Role } from '../src/tenancy/principal.ts';

/** Who is calling. @throws UNAUTHENTICATED, or why nobody could tell. */
export function caller({ identity }: RequestContext): Principal {
  if (identity.fault) throw identity.fault;
  if (!identity.principal)
    throw new AppError('UNAUTHENTICATED', 'Sign in first: send `authorization: Bearer <access token>`.');
  return identity.principal;
}

/** Refuses a caller who holds none of the roles. @throws FORBIDDEN */
export function requireRole(principal: Principal, anyOf: readonly Role[]): void {
  if (!principal.roles.some((role) => anyOf.includes(role)))
    throw new AppError('FORBIDDEN', 'Your role does not allow this.');
}

/** Refuses a caller whose credential is narrower than their role. @throws FORBIDDEN */
export function requireScope({ credential }: Principal, scope: ApiKeyScope): void {
  if (credential.kind === 'API_KEY' && !credential.scopes.includes(scope))
    throw new AppError('FORBIDDEN', `The API key does not have the scope ${scope}.`);
}

/** What a caller whose roles were checked may reach besides the request. */
export const signedIn = (binder: ContextBinder, principal: Principal) => ({
  principal,
  ownTenant: () => binder.tenantOf(principal),
  platform: () => {
    requireRole(principal, ['PLATFORM_OPERATOR']);
    return binder.platform;
  },
});
