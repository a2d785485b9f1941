import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { actingIn, expectTenantNeeded } from '../support/refusals.ts';
import { startWorld, type Caller, type World } from '../support/world.ts';

const SET = `mutation($percentages: [Int!]) { setUsageAlertPercentages(percentages: $percentages) { percentages } }`;

describe('setUsageAlertPercentages', () => {
  let world: World;
  beforeAll(async () => {
    world = await startWorld();
  });
  afterAll(() => world.stop());

  const percentagesOf = async (caller: Caller) =>
    (await caller.run('{ usageAlertSettings { percentages } }')).data.usageAlertSettings.percentages as number[];

  it('sets them for this tenant alone, in ascending order; null goes back to those of the installation', async () => {
    const { data } = await world.acme.admin.run(SET, { percentages: [100, 5, 50] });
    expect(data.setUsageAlertPercentages.percentages).toEqual([5, 50, 100]);
    expect(await percentagesOf(world.acme.admin)).toEqual([5, 50, 100]);
    expect(await percentagesOf(world.globex.admin)).toEqual([80, 100]);
    await actingIn(world, 'acme').run(SET, { percentages: null });
    expect(await percentagesOf(world.acme.admin)).toEqual([80, 100]);
  });

  it('BAD_USER_INPUT for what are no percentages, and nothing is changed', async () => {
    for (const percentages of [[], [0], [101], [-1], [50, 50], Array.from({ length: 11 }, (_, n) => n + 1)]) {
      const { code, errors } = await world.acme.admin.run(SET, { percentages });
      expect([percentages, code, errors[0]?.extensions['field']]).toEqual([
        percentages,
        'BAD_USER_INPUT',
        'percentages',
      ]);
    }
    expect(await percentagesOf(world.acme.admin)).toEqual([80, 100]);
  });

  it('FORBIDDEN for a member; refused to everybody without a tenant', async () => {
    expect(await world.acme.member.run(SET, { percentages: [1] })).toMatchObject({ code: 'FORBIDDEN', status: 403 });
    await expectTenantNeeded(world, SET);
  });
});
