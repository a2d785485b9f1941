import { expect } from 'vitest';
import type { World } from './world.ts';

/** A field with `@tenantScoped` refuses everybody who has no tenant, or names one that they may not. */
export async function expectTenantNeeded(world: World, query: string, variables: Record<string, unknown> = {}) {
  const { nobody, operator, acme } = world;
  const cases = [
    ['nobody', nobody, 'UNAUTHENTICATED', 401],
    ['a broken token', world.caller('not.a.token'), 'UNAUTHENTICATED', 401],
    ['an operator who names no tenant', operator, 'TENANT_REQUIRED', 400],
    ['an operator who names none that exists', operator.with({ 'x-tenant-id': 'hooli' }), 'TENANT_INVALID', 403],
    ['an operator who names the platform', operator.with({ 'x-tenant-id': 'platform' }), 'TENANT_INVALID', 403],
    ['a member who names another tenant', acme.member.with({ 'x-tenant-id': 'globex' }), 'FORBIDDEN', 403],
    ['a member who names none that exists', acme.member.with({ 'x-tenant-id': 'hooli' }), 'FORBIDDEN', 403],
    ['an admin who names another tenant', acme.admin.with({ 'x-tenant-id': 'globex' }), 'FORBIDDEN', 403],
  ] as const;
  for (const [who, caller, code, status] of cases) {
    const answer = await caller.run(query, variables);
    expect([who, answer.code, answer.status]).toEqual([who, code, status]);
  }
}

/** The operator as they act inside a tenant. */
export const actingIn = (world: World, tenant: string) => world.operator.with({ 'x-tenant-id': tenant });

/** An id of the right form that no conversation has. */
export const NO_CONVERSATION = 'conv-01ARZ3NDEKTSV4RRFFQ69G5FAV';
export const NO_MESSAGE = 'msg-01ARZ3NDEKTSV4RRFFQ69G5FAV-1';

/** A refresh token that names the same session, as somebody would make it up who has read the session's id in an access token. */
export const withMadeUpSecrets = (refreshToken: string): string =>
  refreshToken.replaceAll(/[\w-]{43}/g, 'A'.repeat(43));
