import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { AlertTerms } from '../../src/alerts/watch.ts';
import { ulid } from '../../src/kernel/ids.ts';
import { openAlertBench } from '../support/alert-bench.ts';
import { openEmbeddedStorage, type Storage } from '../support/dynamodb-storage.ts';

let storage: Storage;
beforeAll(async () => {
  storage = await openEmbeddedStorage();
});
afterAll(() => storage.close());

const limits = (tokensPerDay: number | null, tokensPerMonth: number | null = null): AlertTerms => ({
  limits: { tokensPerDay, tokensPerMonth },
});
const DAY_MS = 86_400_000;

describe('an alert', () => {
  it('is recorded once when a turn takes the day or the month to a percentage of its limit, and not before', async () => {
    const bench = openAlertBench(storage, limits(1_000, 2_000));
    const instance = bench.instance();
    await instance.turn(799);
    expect(await bench.alerts()).toEqual([]);
    await instance.turn(1);
    await instance.heard(1);
    expect(await bench.alerts()).toMatchObject([
      {
        tenantId: bench.tenantId,
        id: expect.stringMatching(/^alert-[0-9A-Z]{26}$/) as string,
        limit: 'TOKENS_PER_DAY',
        percentage: 80,
        period: '2026-11-20',
        limitTokens: 1_000,
        usedTokens: 800,
        at: '2026-11-20T12:00:00.000Z',
        delivery: { state: 'NONE', attempts: 0, nextAttemptAt: null, deliveredAt: null, lastError: null },
      },
    ]);
    await instance.turn(50);
    await instance.turn(800);
    expect((await instance.heard(3)).toSorted()).toEqual([
      'recorded TOKENS_PER_DAY 100',
      'recorded TOKENS_PER_DAY 80',
      'recorded TOKENS_PER_MONTH 80',
    ]);
    expect(await bench.alerts()).toHaveLength(3);
  });

  it('counts what was used, not what is held for turns that run', async () => {
    const bench = openAlertBench(storage, limits(250));
    const instance = bench.instance();
    await instance.quota.reserve(ulid(bench.clock.now())); // 100 held
    await instance.turn(110);
    await instance.watch.pass();
    expect(await bench.alerts()).toEqual([]);
    await instance.turn(95);
    await instance.heard(1);
    expect(await bench.alerts()).toMatchObject([{ percentage: 80, usedTokens: 205 }]);
  });

  it('is one when twenty turns on two instances reach it at once, and another one in the next period', async () => {
    const bench = openAlertBench(storage, limits(10_000));
    const instances = [bench.instance(), bench.instance()];
    await instances[0]!.turn(7_990);
    await Promise.all(Array.from({ length: 20 }, (_, n) => instances[n % 2]!.turn(1)));
    for (const { watch } of instances) await watch.pass();
    expect(instances.flatMap(({ said }) => said)).toEqual(['recorded TOKENS_PER_DAY 80']);
    await bench.clock.advance(DAY_MS);
    const { length } = instances[1]!.said;
    await instances[1]!.turn(9_000);
    await instances[1]!.heard(length + 1);
    expect((await bench.alerts()).map(({ period }) => period).toSorted()).toEqual(['2026-11-20', '2026-11-21']);
  });

  it('is told by percentages of the tenant where it has some, in their order', async () => {
    const bench = openAlertBench(storage, { ...limits(1_000), alertPercentages: [10, 50, 90] });
    const instance = bench.instance();
    await instance.turn(600);
    expect(await instance.heard(2)).toEqual(['recorded TOKENS_PER_DAY 10', 'recorded TOKENS_PER_DAY 50']);
  });

  it('that a crash kept from being recorded comes with the next turn, and without one with the next look', async () => {
    const bench = openAlertBench(storage, limits(1_000));
    const [one, other] = [bench.instance(), bench.instance()];
    await one.turn(850, { crash: true });
    expect(await bench.alerts()).toEqual([]);
    await one.turn(1);
    expect(await one.heard(1)).toEqual(['recorded TOKENS_PER_DAY 80']);
    await one.turn(200, { crash: true });
    await other.watch.pass();
    expect(other.said).toEqual(['recorded TOKENS_PER_DAY 100']);
  });

  it('of yesterday, and of the month before, is found by the look of the next day', async () => {
    const bench = openAlertBench(storage, limits(1_000, 1_000), '2026-11-30T23:30:00.000Z');
    const instance = bench.instance();
    await instance.turn(900, { crash: true });
    await bench.clock.advance(DAY_MS / 24);
    await instance.watch.pass();
    expect((await bench.alerts()).map(({ period }) => period).toSorted()).toEqual(['2026-11', '2026-11-30']);
  });

  it('that cannot be stored is tried again with the next turn, and the turn is none the worse for it', async () => {
    const bench = openAlertBench(storage, limits(1_000));
    const instance = bench.instance();
    const { alerts } = instance.stores;
    const record = alerts.record.bind(alerts);
    Object.assign(alerts, { record: () => Promise.reject(new Error('the store is away')) });
    await instance.turn(900);
    expect(await instance.heard(1)).toEqual(['fault']);
    Object.assign(alerts, { record });
    await instance.turn(1);
    expect(await instance.heard(2)).toEqual(['fault', 'recorded TOKENS_PER_DAY 80']);
  });

  it('costs nothing while there is none: a turn makes the same two calls as one without limits', async () => {
    const [alerted, plain] = [openAlertBench(storage, limits(1_000)), openAlertBench(storage)];
    for (const bench of [alerted, plain]) {
      const instance = bench.instance();
      await instance.turn(10);
      expect(instance.requests).toEqual(['UpdateItemCommand', 'UpdateItemCommand']);
    }
    const instance = alerted.instance();
    await instance.turn(800);
    await instance.heard(1);
    instance.requests.length = 0;
    await instance.turn(1); // what is known to be recorded is not looked up again
    expect(instance.requests).toEqual(['UpdateItemCommand', 'UpdateItemCommand']);
  });

  it('lists newest first, page by page, and no cursor of another tenant opens it', async () => {
    const bench = openAlertBench(storage, { ...limits(1_000), alertPercentages: [1, 2, 3] });
    const instance = bench.instance();
    for (const tokens of [10, 10, 10]) {
      await instance.turn(tokens);
      await bench.clock.advance(1_000);
    }
    await instance.heard(3);
    const page = { direction: 'forward', size: 2, cursor: null } as const;
    const first = await bench.direct.alerts.list(page);
    expect(first.nodes.map(({ percentage }) => percentage)).toEqual([3, 2]);
    expect(first.pageInfo).toMatchObject({ hasNextPage: true, hasPreviousPage: false });
    const cursor = first.pageInfo.endCursor;
    const rest = await bench.direct.alerts.list({ ...page, cursor });
    expect(rest.nodes.map(({ percentage }) => percentage)).toEqual([1]);
    expect(rest.pageInfo).toMatchObject({ hasNextPage: false, hasPreviousPage: true });
    const other = openAlertBench(storage);
    await expect(other.direct.alerts.list({ ...page, cursor })).rejects.toMatchObject({ code: 'BAD_USER_INPUT' });
  });
});
