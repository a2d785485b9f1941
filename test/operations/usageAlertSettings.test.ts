import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { actingIn, expectTenantNeeded } from '../support/refusals.ts';
import { startWorld, type World } from '../support/world.ts';

const SETTINGS = `{ usageAlertSettings { percentages webhookUrl webhookSetAt } }`;

describe('usageAlertSettings', () => {
  let world: World;
  beforeAll(async () => {
    world = await startWorld({ config: { alertPercentages: [75, 90] } });
  });
  afterAll(() => world.stop());

  it('are those of the installation, and no webhook, until somebody sets them', async () => {
    for (const caller of [world.acme.admin, actingIn(world, 'globex')]) {
      const { data } = await caller.run(SETTINGS);
      expect(data.usageAlertSettings).toEqual({ percentages: [75, 90], webhookUrl: null, webhookSetAt: null });
    }
  });

  it('FORBIDDEN for a member; refused to everybody without a tenant', async () => {
    expect(await world.acme.member.run(SETTINGS)).toMatchObject({ code: 'FORBIDDEN', status: 403 });
    await expectTenantNeeded(world, SETTINGS);
  });
});
