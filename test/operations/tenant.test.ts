import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { actingIn, expectTenantNeeded } from '../support/refusals.ts';
import { startWorld, type World } from '../support/world.ts';

const TENANT = `{ tenant {
  id slug name status agents { id name } knowledgeBaseIds createdAt updatedAt features { name enabled }
  limits { requestsPerMinute concurrentGenerations tokensPerDay tokensPerMonth }
} }`;

describe('tenant', () => {
  let world: World;
  beforeAll(async () => {
    world = await startWorld();
  });
  afterAll(() => world.stop());

  it('ok: member and admin see all of their own tenant', async () => {
    for (const caller of [world.acme.member, world.acme.admin]) {
      const { data } = await caller.run(TENANT);
      expect(data.tenant).toEqual({
        id: 'acme',
        slug: 'acme',
        name: 'Acme Corporation',
        status: 'ACTIVE',
        agents: [
          { id: 'support', name: 'Support' },
          { id: 'analyst', name: 'Analyst' },
        ],
        knowledgeBaseIds: ['KBSUPPORT1', 'KBANALYST1'],
        limits: { requestsPerMinute: null, concurrentGenerations: null, tokensPerDay: null, tokensPerMonth: null },
        features: [],
        createdAt: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
        updatedAt: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
      });
    }
  });

  it('ok: an operator sees the tenant they act in', async () => {
    for (const id of ['acme', 'globex']) {
      const { data } = await actingIn(world, id).run(TENANT);
      expect(data.tenant.id).toBe(id);
    }
  });

  it('ok: naming the tenant one belongs to changes nothing', async () => {
    const { data } = await world.acme.member.with({ 'x-tenant-id': 'acme' }).run(TENANT);
    expect(data.tenant.id).toBe('acme');
  });

  it('UNAUTHENTICATED, TENANT_REQUIRED, TENANT_INVALID and FORBIDDEN for those without a tenant', () =>
    expectTenantNeeded(world, TENANT));

  it('TENANT_INVALID for a name that no tenant can have, whatever is in it', async () => {
    for (const name of ['ACME', 'acme#', '../acme', 'a', 'acme globex', 'x'.repeat(41)]) {
      const { code } = await actingIn(world, name).run(TENANT);
      expect([name, code]).toEqual([name, 'TENANT_INVALID']);
    }
  });
});
