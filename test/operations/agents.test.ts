import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { actingIn, expectTenantNeeded } from '../support/refusals.ts';
import { startWorld, type World } from '../support/world.ts';

const AGENTS = `{ agents { id name description } }`;

describe('agents', () => {
  let world: World;
  beforeAll(async () => {
    world = await startWorld();
  });
  afterAll(() => world.stop());

  it('ok: member, admin and acting operator see the agents the tenant may call, the default one first', async () => {
    for (const caller of [world.acme.member, world.acme.admin, world.globex.member, actingIn(world, 'globex')]) {
      const { data } = await caller.run(AGENTS);
      expect(data.agents).toEqual([
        { id: 'support', name: 'Support', description: 'Answers questions about orders, products and policies.' },
        { id: 'analyst', name: 'Analyst', description: 'Answers questions about the business and its figures.' },
      ]);
    }
  });

  it('shows nothing of how an agent is reached', async () => {
    const { errors } = await world.acme.admin.run('{ agents { bedrock { agentId } } }');
    expect(errors[0]?.extensions.code).toBe('GRAPHQL_VALIDATION_FAILED');
    const { data } = await world.acme.admin.run(AGENTS);
    expect(JSON.stringify(data)).not.toMatch(/AGSUPPORT1|ALSUPPORT1/);
  });

  it('UNAUTHENTICATED, TENANT_REQUIRED, TENANT_INVALID and FORBIDDEN for those without a tenant', () =>
    expectTenantNeeded(world, AGENTS));
});
