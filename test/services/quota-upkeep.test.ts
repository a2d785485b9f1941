import { afterAll, beforeAll, expect, it } from 'vitest';
import { ulid } from '../../src/kernel/ids.ts';
import { createQuotaUpkeep } from '../../src/usage/quota-upkeep.ts';
import { periodOf } from '../../src/usage/quota.ts';
import { settle } from '../support/clock.ts';
import { openEmbeddedStorage, type Storage } from '../support/dynamodb-storage.ts';
import { openBench, passTime, type Bench } from '../support/turn-bench.ts';

let storage: Storage;
beforeAll(async () => {
  storage = await openEmbeddedStorage();
});
afterAll(() => storage.close());

const MINUTE = 60_000;
const NO_LIMITS = { tokensPerDay: null, tokensPerMonth: null };

function upkeepOf(bench: Bench, openTurns = () => bench.dueStore.openTurns()) {
  const released: string[] = [];
  const upkeep = createQuotaUpkeep({
    // eslint-disable-next-line @typescript-eslint/require-await
    tenants: async function* () {
      yield bench.tenantId;
    },
    storeOf: () => bench.direct.quota,
    openTurns,
    clock: bench.clock,
    log: {
      released: (_tenantId, turnId) => released.push(turnId),
      upkeepFailed: (_tenantId, error) => released.push(String(error)),
    },
  });
  return { released, start: upkeep.start, pass: () => passTime(bench.clock, upkeep.pass()) };
}

/** Tokens held for a turn that nobody knows. */
async function hold(bench: Bench, tokens = 4_000) {
  const turnId = ulid(bench.clock.now());
  await bench.direct.quota.reserve(turnId, periodOf(turnId), tokens, NO_LIMITS);
  return turnId;
}

it('a hold without a turn is released after a quarter of an hour, and its turn may hold nothing any more', async () => {
  const bench = await openBench(storage);
  const { released, pass } = upkeepOf(bench);
  const turnId = await hold(bench);
  await bench.clock.advance(14 * MINUTE);
  await pass();
  expect(released).toEqual([]);
  await bench.clock.advance(2 * MINUTE);
  await pass();
  expect(released).toEqual([turnId]);
  expect(await bench.quota()).toMatchObject({ usedInMonth: 0, holds: {}, fenced: [turnId] });
  expect(await bench.direct.quota.reserve(turnId, periodOf(turnId), 1, NO_LIMITS)).not.toBeNull();
});

it('of a turn that runs, waits for repair, or was put aside, the hold stays', async () => {
  const bench = await openBench(storage);
  const { released, pass } = upkeepOf(bench);
  const process = bench.process();
  await process.send('Hello');
  const answering = await process.script.next();
  for (let minutes = 0; minutes < 20; minutes++) {
    await bench.clock.advance(MINUTE / 3);
    await bench.clock.advance(MINUTE / 3);
    await bench.clock.advance(MINUTE / 3);
  }
  await pass();
  expect(released).toEqual([]);
  process.die();
  await bench.clock.advance(20 * MINUTE);
  await pass();
  expect(released).toEqual([]);
  const turn = (await bench.turnRow())!;
  const other = bench.process();
  const claimed = await other.stores.turns.claim(turn.key, bench.clock.now(), bench.clock.now() + MINUTE);
  await other.stores.turns.park(claimed!, { sequence: null, unmetered: null }, bench.clock.now());
  await pass();
  expect(released).toEqual([]);
  expect(Object.keys((await bench.quota()).holds)).toEqual([turn.id]);
  answering.end();
});

it('a hold that two instances find at once is released once', async () => {
  const bench = await openBench(storage);
  const [one, other] = [upkeepOf(bench), upkeepOf(bench)];
  const turnId = await hold(bench);
  await bench.clock.advance(20 * MINUTE);
  await Promise.all([one.pass(), other.pass()]);
  expect([...one.released, ...other.released]).toEqual([turnId]);
  expect(await bench.quota()).toMatchObject({ usedInMonth: 0 });
});

it.each([
  ['first', 0],
  ['second', 1],
])('an index that misses a turn at the %s look alone does not cost that turn its hold', async (_look, missing) => {
  const bench = await openBench(storage);
  const turnId = await hold(bench);
  let looks = 0;
  const { released, pass } = upkeepOf(bench, () => Promise.resolve(new Set(looks++ === missing ? [] : [turnId])));
  await bench.clock.advance(20 * MINUTE);
  await pass();
  expect(released).toEqual([]);
  expect(Object.keys((await bench.quota()).holds)).toEqual([turnId]);
});

it('a turn that settles its hold between the two looks is not touched', async () => {
  const bench = await openBench(storage);
  const { released, pass } = upkeepOf(bench);
  const turnId = await hold(bench);
  await bench.clock.advance(20 * MINUTE);
  const passing = pass();
  await settle();
  await bench.direct.quota.settle(turnId, periodOf(turnId), { held: 4_000, used: 123, fence: false });
  await passing;
  expect(released).toEqual([]);
  expect(await bench.quota()).toMatchObject({ usedInMonth: 123, holds: {} });
});

it('a hold of the month before is found in the new month; fences go after an hour', async () => {
  const bench = await openBench(storage);
  const { released, pass } = upkeepOf(bench);
  await bench.clock.advance(Date.parse('2026-11-30T23:59:00.000Z') - bench.clock.now());
  const turnId = await hold(bench);
  const fresh = ulid(bench.clock.now() + 90 * MINUTE);
  await bench.clock.advance(30 * MINUTE);
  await pass();
  expect(released).toEqual([turnId]);
  await bench.direct.quota.fence(fresh, periodOf(turnId));
  await bench.clock.advance(59 * MINUTE);
  await pass();
  expect((await bench.quota()).fenced).toEqual([fresh]);
});

it('a tenant whose quota cannot be read or written does not hold up the others', async () => {
  const [broken, bench] = [await openBench(storage), await openBench(storage)];
  const failed: unknown[] = [];
  const refuse = () => Promise.reject(new Error('throttled'));
  const upkeep = createQuotaUpkeep({
    // eslint-disable-next-line @typescript-eslint/require-await
    tenants: async function* () {
      yield* [broken.tenantId, bench.tenantId];
    },
    storeOf: (tenantId) =>
      tenantId === bench.tenantId ? bench.direct.quota : { ...broken.direct.quota, settle: refuse, dropFences: refuse },
    openTurns: () => Promise.resolve(new Set()),
    clock: bench.clock,
    log: { released: () => undefined, upkeepFailed: (tenantId) => failed.push(tenantId) },
  });
  await hold(broken);
  await hold(bench);
  await bench.direct.quota.addOnce(`${ulid(bench.clock.now())}.late`, { month: '2026-11', day: '20' }, 5);
  await bench.clock.advance(61 * MINUTE);
  await passTime(bench.clock, upkeep.pass());
  expect(failed).toEqual([broken.tenantId, broken.tenantId]);
  expect(await bench.quota()).toMatchObject({ usedInMonth: 5, holds: {} });
  expect((await bench.quota()).fenced.filter((name) => name.endsWith('.late'))).toEqual([]);
});

it('ends at once when the server stops, also between its two looks: the hold is found again later', async () => {
  const bench = await openBench(storage);
  const looked = Promise.withResolvers<Set<string>>();
  const { released, start } = upkeepOf(bench, () => {
    looked.resolve(new Set());
    return looked.promise;
  });
  const turnId = await hold(bench);
  await bench.clock.advance(20 * MINUTE);
  const stop = start();
  await looked.promise;
  while (bench.clock.pending() === 0) await settle();
  await stop();
  expect(released).toEqual([]);
  expect(Object.keys((await bench.quota()).holds)).toEqual([turnId]);
});
