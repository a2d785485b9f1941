import { expect, it } from 'vitest';
import { systemClock } from '../../src/kernel/clock.ts';
import { ulid } from '../../src/kernel/ids.ts';
import { createTokenQuota, periodOf } from '../../src/usage/quota.ts';
import type { TokenLimits } from '../../src/usage/ports.ts';
import { onEveryEngine } from '../support/dynamodb-storage.ts';

const HELD = 4_000;
const NO_LIMITS: TokenLimits = { tokensPerDay: null, tokensPerMonth: null };

/** Whole numbers from 0 to below `n`, the same in every run (a linear congruential generator, Numerical Recipes). */
function numbers(seed: number) {
  let state = seed;
  return (n: number) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * n);
  };
}

onEveryEngine('The token quota', (storage) => {
  function open(limits: TokenLimits = NO_LIMITS) {
    const tenantId = storage().tenant();
    const process = () => {
      const store = storage().connect({ clock: systemClock }).forTenant(tenantId).quota;
      return { store, quota: createTokenQuota({ store, limits, reserveTokens: HELD, changed: () => undefined }) };
    };
    const { store, quota } = process();
    const turnId = ulid(Date.now());
    const state = () => store.state(periodOf(turnId).month);
    return { tenantId, process, store, quota, state, turnId };
  }

  it('a turn that was reserved and settled has used what it used, and holds nothing', async () => {
    const { quota, state, turnId } = open();
    await quota.reserve(turnId);
    expect(await state()).toMatchObject({ usedInMonth: HELD, holds: { [turnId]: HELD } });
    await quota.settle(turnId, 1_234);
    expect(await state()).toEqual({ usedInMonth: 1_234, usedOnDay: 0, holds: {}, fenced: [] });
  });

  it('repeating any step changes nothing: reserve, settle, and both by another process', async () => {
    const { process, quota, state, turnId } = open();
    const other = process().quota;
    for (const each of [quota, quota, other]) await each.reserve(turnId);
    expect((await state()).usedInMonth).toBe(HELD);
    for (const each of [other, quota, other]) await each.settle(turnId, 500);
    expect(await state()).toMatchObject({ usedInMonth: 500, holds: {} });
  });

  it.each([
    ['day', { tokensPerDay: 0, tokensPerMonth: null }],
    ['month', { tokensPerDay: null, tokensPerMonth: 0 }],
  ])('a limit of 0 tokens a %s lets nothing through, the first turn neither', async (_period, limits) => {
    const { quota, state, turnId } = open(limits);
    await expect(quota.reserve(turnId)).rejects.toMatchObject({ code: 'QUOTA_EXCEEDED', details: { limit: 0 } });
    expect(await state()).toMatchObject({ usedInMonth: 0, holds: {} });
  });

  it('settles what is really held, after a raise that only the other process knows of', async () => {
    const { process, quota, state, turnId } = open();
    await quota.reserve(turnId);
    await quota.raise(turnId, 9_000);
    expect((await state()).holds).toEqual({ [turnId]: 12_000 });
    await process().quota.settle(turnId, 9_500, { fence: true });
    await quota.settle(turnId, 9_500);
    expect(await state()).toMatchObject({ usedInMonth: 9_500, holds: {}, fenced: [turnId] });
  });

  it('a process that was taken for dead cannot reserve any more', async () => {
    const { process, quota, state, turnId } = open();
    await process().quota.settle(turnId, 0, { fence: true });
    await expect(quota.reserve(turnId)).rejects.toMatchObject({ code: 'INTERRUPTED' });
    expect(await state()).toMatchObject({ usedInMonth: 0, holds: {}, fenced: [turnId] });
  });

  it.each([
    ['month', { tokensPerMonth: 10_000, tokensPerDay: null }],
    ['day', { tokensPerMonth: null, tokensPerDay: 10_000 }],
  ] as const)(
    'of 50 senders at once, the %s lets pass what it has room for, and one at most beyond',
    async (_, limits) => {
      const { process } = open(limits);
      const turns = Array.from({ length: 50 }, () => ({ turnId: ulid(Date.now()), quota: process().quota }));
      const results = await Promise.allSettled(turns.map(({ quota, turnId }) => quota.reserve(turnId)));
      const refusals = results.flatMap((result) => (result.status === 'rejected' ? [result.reason as Error] : []));
      expect(results.length - refusals.length).toBe(3); // 4,000 and 8,000 leave room; 12,000 does not
      for (const refusal of refusals) {
        expect(refusal).toMatchObject({ code: 'QUOTA_EXCEEDED', details: { limit: 10_000, remaining: 0 } });
      }
    },
  );

  it('counts a turn in the day and month of its id, whenever it is settled, and says when they end', async () => {
    const { store, quota } = open({ tokensPerDay: 1, tokensPerMonth: null });
    const lastDay = ulid(Date.parse('2026-12-31T23:59:59.999Z'));
    await quota.reserve(lastDay);
    await quota.settle(lastDay, 70);
    const refused = quota.reserve(ulid(Date.parse('2026-12-31T12:00:00.000Z')));
    await expect(refused).rejects.toMatchObject({ details: { resetAt: '2027-01-01T00:00:00.000Z' } });
    expect((await store.state('2026-12')).usedInMonth).toBe(70);
    await quota.reserve(ulid(Date.parse('2027-01-01T00:00:00.000Z')));
  });

  it('forgets any number of fences, in expressions of less than the 4 KB that DynamoDB takes', async () => {
    const updates: string[] = [];
    const store = storage().connect({
      onRequest: ({ operation, phase }) => phase === 'sent' && operation.startsWith('Update') && updates.push(operation),
    }).forTenant(storage().tenant()).quota; // prettier-ignore
    const names = Array.from({ length: 450 }, () => `${ulid(Date.now())}.late`);
    const period = periodOf(names[0]!);
    await store.addOnce(names[0]!, period, 5);
    await store.addOnce(names[449]!, period, 5);
    updates.length = 0;
    await store.dropFences(period.month, names);
    expect(await store.state(period.month)).toMatchObject({ usedInMonth: 10, fenced: [] });
    expect(updates).toHaveLength(3);
  });

  it('drifts by nothing under crashes, repeats, raises, zombies and racing sweepers', async () => {
    const { process, state } = open();
    const random = numbers(20_261_120);
    const used = new Map<string, number>();
    const dead: string[] = [];

    /** One turn, which dies at any of its steps; whatever it does may be done twice. */
    async function turn() {
      const { quota } = process();
      const turnId = ulid(Date.now());
      const dies = random(4);
      await quota.reserve(turnId);
      if (random(4) === 0) await quota.reserve(turnId);
      used.set(turnId, 0);
      if (dies === 0) return dead.push(turnId);
      const tokens = 1 + random(9_000);
      used.set(turnId, tokens);
      await quota.raise(turnId, tokens);
      if (dies === 1) return dead.push(turnId);
      await quota.settle(turnId, tokens);
      if (random(4) === 0) await quota.settle(turnId, tokens);
      return 0;
    }
    await Promise.all(
      Array.from({ length: 20 }, async () => {
        for (let n = 0; n < 6; n++) await turn();
      }),
    );

    // Two sweepers, and the dead ones come back: to settle, or to reserve again.
    const sweep = (turnId: string) => process().quota.settle(turnId, used.get(turnId) ?? 0, { fence: true });
    const zombie = (turnId: string) =>
      process()
        .quota.reserve(turnId)
        .catch(() => undefined);
    expect(dead.length).toBeGreaterThan(10);
    await Promise.all(dead.flatMap((turnId) => [sweep(turnId), sweep(turnId)]));
    await Promise.all(dead.map(zombie));
    await Promise.all(dead.map(sweep));

    const sum = [...used.values()].reduce((total, tokens) => total + tokens, 0);
    expect(await state()).toMatchObject({ usedInMonth: sum, holds: {} });
  });
});
