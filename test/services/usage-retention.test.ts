import { afterAll, beforeAll, expect, it } from 'vitest';
import { ulid } from '../../src/kernel/ids.ts';
import { closeHour, createUsageCloser, reconcile } from '../../src/usage/closing.ts';
import { DAY_MS, HOUR_MS, periodName } from '../../src/usage/periods.ts';
import { NO_PRICES } from '../../src/usage/prices.ts';
import { createUsageRetention } from '../../src/usage/retention.ts';
import { createUsageService } from '../../src/usage/service.ts';
import { createTestClock } from '../support/clock.ts';
import { collect } from '../support/collect.ts';
import { openEmbeddedStorage, type Storage } from '../support/dynamodb-storage.ts';
import { aTurn } from '../support/usage-rows.ts';

let storage: Storage;
beforeAll(async () => {
  storage = await openEmbeddedStorage();
});
afterAll(() => storage.close());

const START = Date.parse('2026-10-01T00:00:00.000Z');
const DAYS = { turns: 30, signIns: 20, hours: 60, days: 90 };

/** A tenant with a turn and a sign-in in the first and a turn in the last hour of a day, all of it closed twice. */
async function open() {
  const clock = createTestClock(START);
  const tenantId = storage.tenant();
  const db = storage.connect({ clock, usageRetention: createUsageRetention(DAYS) });
  const store = db.forTenant(tenantId).usage;
  const closer = createUsageCloser({
    due: { due: async (now) => (await db.dueHours.due(now)).filter((work) => work.tenantId === tenantId) },
    storeOf: () => store,
    clock,
    log: {
      closingFailed: (_work, error) => {
        throw error;
      },
    },
  });
  const usage = createUsageService({ tenantId, store, prices: NO_PRICES, changed: () => undefined });
  const signIn = {
    kind: 'SIGN_IN',
    id: ulid(START + 1),
    userId: 'u',
    identityProvider: 'PASSWORD',
    latencyMs: 5,
  } as const;
  const lastHour = START + 23 * HOUR_MS;
  for (const event of [aTurn(START), signIn, aTurn(lastHour)]) await store.record(event);
  await clock.advance(2 * DAY_MS);
  await closer.round();
  await closer.round();
  const goTo = (ms: number) => clock.advance(ms - clock.now());
  const summary = async (start = START, end = START + DAY_MS) => {
    const { conversations, tokens, byService } = await usage.summary(new Date(start), new Date(end));
    const signIns = byService.find(({ service }) => service === 'IDENTITY')?.usage.invocations;
    return {
      turns: conversations.turns,
      users: await conversations.uniqueUsers(),
      tokens: tokens.totalTokens,
      signIns,
    };
  };
  const events = async () => (await collect(store.events(START, START + DAY_MS))).map(({ kind }) => kind).sort();
  const exported = async () =>
    (await collect(store.ordered({ startMs: START, endMs: START + DAY_MS, after: null }))).length;
  const reconciled = () => reconcile(store, { start: START, end: START + DAY_MS }, clock);
  return { clock, tenantId, store, closer, db, lastHour, goTo, summary, events, exported, reconciled };
}

it('events go when their time is over, to the millisecond and each kind by itself; the sums of their hours and days stay', async () => {
  const { goTo, summary, events, exported } = await open();
  const whole = await summary();
  expect(whole).toMatchObject({ turns: 2, users: 1, signIns: 1 });
  await goTo(START + HOUR_MS + DAYS.signIns * DAY_MS - 1);
  expect(await events()).toEqual(['SIGN_IN', 'TURN', 'TURN']);
  await goTo(START + HOUR_MS + DAYS.signIns * DAY_MS);
  expect(await events()).toEqual(['TURN', 'TURN']);
  await goTo(START + HOUR_MS + DAYS.turns * DAY_MS);
  expect([await events(), await exported()]).toEqual([['TURN'], 1]);
  await goTo(START + DAY_MS + DAYS.turns * DAY_MS);
  expect([await events(), await exported()]).toEqual([[], 0]);
  expect(await summary()).toEqual(whole);
  expect(await summary(START, START + HOUR_MS)).toMatchObject({ turns: 1, signIns: 1 });
});

it('the sums of hours go before those of days, and those in the end', async () => {
  const { goTo, summary, lastHour } = await open();
  const whole = await summary();
  await goTo(lastHour + HOUR_MS + DAYS.hours * DAY_MS - 1);
  expect(await summary(lastHour)).toMatchObject({ turns: 1 });
  await goTo(lastHour + HOUR_MS + DAYS.hours * DAY_MS);
  expect(await summary(lastHour)).toMatchObject({ turns: 0 });
  expect(await summary()).toEqual(whole);
  await goTo(START + DAY_MS + DAYS.days * DAY_MS);
  expect(await summary()).toMatchObject({ turns: 0, users: 0, tokens: 0, signIns: 0 });
});

it('an hour whose events are gone, of one kind only or all, is never closed again: its sums stay', async () => {
  const { goTo, summary, reconciled } = await open();
  const whole = await summary();
  expect(await reconciled()).toEqual({ hours: 2, days: 1, expired: 0, changed: [] });
  for (const days of [DAYS.signIns, DAYS.turns]) {
    await goTo(START + HOUR_MS + days * DAY_MS);
    expect(await reconciled()).toMatchObject({ hours: days === DAYS.signIns ? 1 : 0, changed: [] });
    expect(await summary()).toEqual(whole);
    expect(await summary(START, START + HOUR_MS)).toMatchObject({ turns: 1, signIns: 1 });
  }
});

it('an hour that is due only when its events are gone is not looked at for ever', async () => {
  const { clock, store, closer, db, tenantId, goTo } = await open();
  await store.record(aTurn(START + 5)); // late: due again
  const due = async () => (await db.dueHours.due(clock.now())).filter((work) => work.tenantId === tenantId);
  await goTo(START + HOUR_MS + DAYS.turns * DAY_MS);
  expect(await due()).toHaveLength(1);
  await closer.round();
  expect(await due()).toEqual([]);
});

it('an event that comes when those of its hour are gone opens nothing, and one whose own time is over is not stored', async () => {
  const { goTo, store, summary, events, tenantId } = await open();
  const whole = await summary();
  await goTo(START + HOUR_MS + DAYS.signIns * DAY_MS);
  await store.record(aTurn(START + 5));
  expect(await events()).toEqual(['TURN', 'TURN', 'TURN']);
  expect(await summary()).toEqual(whole);
  await goTo(START + HOUR_MS + DAYS.turns * DAY_MS);
  const before = (await storage.rowsOf(tenantId)).length;
  await store.record(aTurn(START + 6));
  expect(await storage.rowsOf(tenantId)).toHaveLength(before);
  expect(await summary()).toEqual(whole);
});

it('every row of usage says when it goes, so that whoever deletes by time to live finds it', async () => {
  const { tenantId } = await open();
  const rows = await storage.rowsOf(tenantId);
  const seconds = (ms: number, days: number) => (ms + days * DAY_MS) / 1000;
  const [hour, day] = [periodName('HOUR', START), periodName('DAY', START)];
  const ends = rows.map(({ PK, SK, ttl }) => {
    const named = `${PK} ${SK}`;
    const end = named.includes(hour) ? START + HOUR_MS : START + DAY_MS;
    const kept = PK.includes('#E#')
      ? [DAYS.turns, DAYS.signIns]
      : [named.includes(`D#${day}`) ? DAYS.days : DAYS.hours];
    return kept.some((days) => ttl === seconds(end, days)) ? null : `${named}: ${String(ttl)}`;
  });
  expect(rows.length).toBeGreaterThan(8);
  expect(ends.filter((end) => end !== null)).toEqual([]);
});

it('an hour whose events go while it is being closed keeps its sums', async () => {
  const { goTo, store, clock, summary } = await open();
  const whole = await summary();
  const hour = periodName('HOUR', START);
  async function* events(...span: Parameters<typeof store.events>) {
    await goTo(START + HOUR_MS + DAYS.turns * DAY_MS);
    yield* store.events(...span);
  }
  expect(await closeHour({ ...store, events }, hour, clock)).toBe(false);
  expect(await summary()).toEqual(whole);
});
