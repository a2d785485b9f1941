import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { actingIn, expectTenantNeeded } from '../support/refusals.ts';
import { startWorld, type World } from '../support/world.ts';

const UPDATE = `mutation($input: UpdateTenantInput!) {
  updateTenant(input: $input) { tenant { id name version agents { id } limits { requestsPerMinute tokensPerDay } features { name enabled } } }
}`;

describe('updateTenant', () => {
  let world: World;
  beforeAll(async () => {
    world = await startWorld();
  });
  afterAll(() => world.stop());

  it('ok: an administrator changes the name; the next request of anybody there sees it', async () => {
    const { admin, member } = world.acme;
    const { data } = await admin.run(UPDATE, { input: { name: 'Acme Inc.', expectedVersion: 1 } });
    expect(data.updateTenant.tenant).toMatchObject({ id: 'acme', name: 'Acme Inc.', version: 2 });
    expect((await member.run('{ tenant { name version } viewer { tenant { name } } }')).data).toEqual({
      tenant: { name: 'Acme Inc.', version: 2 },
      viewer: { tenant: { name: 'Acme Inc.' } },
    });
    expect((await world.globex.member.run('{ tenant { name } }')).data.tenant.name).toBe('Globex Energy');
  });

  it('ok: an operator changes agents and limits, and they hold at once', async () => {
    const input = { agentIds: ['analyst'], limits: { requestsPerMinute: 2 } };
    const { data } = await actingIn(world, 'globex').run(UPDATE, { input });
    expect(data.updateTenant.tenant).toMatchObject({
      agents: [{ id: 'analyst' }],
      limits: { requestsPerMinute: 2, tokensPerDay: null },
    });
    const codes = [];
    for (let n = 0; n < 3; n++) codes.push((await world.globex.member.run('{ agents { id } }')).code);
    expect(codes).toEqual([undefined, undefined, 'RATE_LIMITED']);
    await actingIn(world, 'globex').run(UPDATE, { input: { limits: { requestsPerMinute: null } } });
    expect((await world.globex.member.run('{ agents { id } }')).data.agents).toEqual([{ id: 'analyst' }]);
  });

  it('CONFLICT with the version there is', async () => {
    const { errors } = await world.acme.admin.run(UPDATE, { input: { name: 'Late', expectedVersion: 1 } });
    expect(errors[0]?.extensions).toMatchObject({ code: 'CONFLICT', currentVersion: 2 });
  });

  it('FORBIDDEN for a member, and for an administrator who sends what is the operators’', async () => {
    expect((await world.acme.member.run(UPDATE, { input: { name: 'Mine' } })).code).toBe('FORBIDDEN');
    for (const input of [{ agentIds: ['support'] }, { knowledgeBaseIds: [] }, { limits: { tokensPerDay: null } }])
      expect((await world.acme.admin.run(UPDATE, { input })).code).toBe('FORBIDDEN');
  });

  it('UNAUTHENTICATED, TENANT_REQUIRED, TENANT_INVALID and FORBIDDEN for those without a tenant', async () => {
    const asAdmin = { ...world, acme: { admin: world.acme.admin, member: world.acme.admin } };
    await expectTenantNeeded(asAdmin, UPDATE, { input: {} });
  });
});
