import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ulid, ulidTime } from '../../src/kernel/ids.ts';
import { closeDay, closeHour, createUsageCloser, reconcile } from '../../src/usage/closing.ts';
import type { UsageEvent } from '../../src/usage/model.ts';
import { DAY_MS, HOUR_MS, MINUTE_MS, periodName, type Span } from '../../src/usage/periods.ts';
import type { UsageStore } from '../../src/usage/ports.ts';
import { readTallies } from '../../src/usage/reading.ts';
import { addTo, emptyTally, tallyOf, type Tally } from '../../src/usage/tally.ts';
import { createTestClock, type TestClock } from '../support/clock.ts';
import { collect } from '../support/collect.ts';
import { METERING } from '../support/conversation-rows.ts';
import { openEmbeddedStorage, type Storage } from '../support/dynamodb-storage.ts';
import { randomNumbers } from '../support/random.ts';
import { aService } from '../support/usage-rows.ts';

let storage: Storage;
beforeAll(async () => {
  storage = await openEmbeddedStorage();
});
afterAll(() => storage.close());

/** A Friday; the days after it go over the end of the month. */
const START = Date.parse('2026-11-27T00:00:00.000Z');

function anEvent(at: number, random: () => number): UsageEvent {
  const upTo = (max: number) => Math.floor(random() * max);
  if (random() < 0.1) {
    const signIn = { userId: `user-${upTo(5)}`, identityProvider: 'PASSWORD', latencyMs: upTo(90) };
    return { kind: 'SIGN_IN', id: ulid(at), ...signIn };
  }
  const [inputTokens, outputTokens] = [upTo(5_000), upTo(900)];
  const modelId = random() < 0.5 ? 'nova' : null;
  const use = { modelId, inputTokens, outputTokens, estimatedTokens: upTo(10), nanoUsd: modelId ? upTo(9_999) : null };
  return {
    kind: 'TURN',
    ...METERING,
    turnId: ulid(at),
    conversationId: `conv-${upTo(9)}`,
    userId: `user-${upTo(5)}`,
    agentId: `agent-${upTo(3)}`,
    first: random() < 0.3,
    status: (['COMPLETED', 'FAILED', 'CANCELLED'] as const)[upTo(3)]!,
    errorCode: null,
    attempts: upTo(3),
    ...{ inputTokens, outputTokens, estimatedTokens: use.estimatedTokens, models: [use], priceVersion: null },
    latencyMs: upTo(60_000),
    traces: upTo(9),
    signInId: null,
    knowledgeBase: aService([upTo(400)], { failures: upTo(2), name: `KB${upTo(3)}`, results: upTo(6) }),
    actionGroup: aService([upTo(400), upTo(9)], { name: upTo(2) === 0 ? null : 'Orders' }),
  };
}

const timeOf = (event: UsageEvent) => ulidTime(event.kind === 'SIGN_IN' ? event.id : event.turnId);

function sumOf(events: readonly UsageEvent[], start: number, end: number): Tally {
  const total = emptyTally();
  for (const event of events) if (timeOf(event) >= start && timeOf(event) < end) addTo(total, tallyOf(event));
  return total;
}

/** Without counters that are 0, which a sum of closed periods may lack or have. */
const plain = (tally: Tally): unknown =>
  JSON.parse(JSON.stringify(tally), (_key, value: unknown) => {
    if (typeof value !== 'object' || value === null) return value === 0 ? undefined : value;
    return Object.keys(value).length === 0 ? undefined : Object.fromEntries(Object.entries(value).sort());
  });

/** The sums of a span, users included. */
const readWhole = async (store: UsageStore, { start, end }: Span): Promise<Tally> =>
  (await (await readTallies(store, [start, end])).withUsers())[0]!;

function open(clock: TestClock = createTestClock(START)) {
  const tenantId = storage.tenant();
  const requests: string[] = [];
  const db = storage.connect({
    clock,
    onRequest: ({ operation, phase }) => phase === 'sent' && requests.push(operation),
  });
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
  return { clock, tenantId, db, store, closer, requests };
}

describe('a period that is read', () => {
  it('is exactly the sum of its events, wherever it begins and ends, whatever is closed and comes late', async () => {
    const random = randomNumbers(2);
    const { clock, store, closer } = open();
    const events: UsageEvent[] = [];
    const record = async (event: UsageEvent) => {
      events.push(event);
      await store.record(event);
    };
    const check = async () => {
      for (let spans = 0; spans < 4; spans++) {
        const start = START + Math.floor(random() * 60 * HOUR_MS);
        const end = start + 1 + Math.floor(random() * random() * 60 * HOUR_MS);
        expect(plain(await readWhole(store, { start, end })), `${start} ${end}`).toEqual(
          plain(sumOf(events, start, end)),
        );
        const cuts = Array.from({ length: 5 }, () => start + Math.floor(random() * (end - start)));
        const borders = [...new Set([start, ...cuts, end])].toSorted((a, b) => a - b);
        const reading = await readTallies(store, borders);
        const tallies = await reading.withUsers();
        const ofOne = await reading.withUsers('user-1');
        expect(ofOne.map(({ users }) => plain(users as never))).toEqual(
          tallies.map(({ users: { 'user-1': one } }) => plain((one ? { 'user-1': one } : {}) as never)),
        );
        expect(tallies.map(plain)).toEqual(
          tallies.map((_, index) => plain(sumOf(events, borders[index]!, borders[index + 1]!))),
        );
      }
    };
    for (let hour = 0; hour < 60; hour++) {
      await clock.advance(START + (hour + 1) * HOUR_MS - clock.now());
      // A few of this hour, in a few of its minutes; some hours have none.
      const count = Math.floor(random() * 4);
      for (let n = 0; n < count; n++)
        await record(anEvent(START + hour * HOUR_MS + Math.floor(random() * 4) * 13 * MINUTE_MS + n, random));
      // Something of an hour long closed.
      if (random() < 0.2) await record(anEvent(START + Math.floor(random() * hour) * HOUR_MS + 12_345, random));
      if (random() < 0.8) {
        await clock.advance(11 * MINUTE_MS);
        await Promise.all([closer.round(), closer.round()]);
      }
      if (hour % 15 === 14) await check();
    }
    await clock.advance(2 * DAY_MS);
    await closer.round();
    const heads = await store.heads('HOUR', { start: START, end: START + 60 * HOUR_MS });
    expect(heads.filter(({ closed }) => closed === null)).toEqual([]);
    const days = await store.heads('DAY', { start: START, end: START + 3 * DAY_MS });
    expect(days.filter(({ closed }) => closed !== null)).toHaveLength(3);
    await check();
  }, 60_000);

  it('costs calls by its hours and days, never by its turns: at most 10 for a month with cut ends, users included', async () => {
    const { clock, store, closer, requests } = open();
    const random = randomNumbers(7);
    const month = Date.parse('2026-10-01T00:00:00.000Z');
    const events: UsageEvent[] = [];
    for (let day = 0; day < 31; day++)
      for (let n = 0; n < 4; n++) events.push(anEvent(month + day * DAY_MS + n * 6 * HOUR_MS + n * 61_003, random));
    await Promise.all(events.map((event) => store.record(event)));
    await clock.advance(2 * DAY_MS);
    for (let rounds = 0; rounds < 10; rounds++) await closer.round();
    const spans = [
      { start: month, end: month + 31 * DAY_MS },
      { start: month + 1, end: month + 31 * DAY_MS - 1 },
      { start: month + 3 * HOUR_MS + 61_003, end: month + 30 * DAY_MS + 7 * HOUR_MS + 123_456 },
    ];
    for (const span of spans) {
      requests.length = 0;
      const tally = await readWhole(store, span);
      expect(requests.length, requests.join()).toBeLessThanOrEqual(10);
      expect(plain(tally)).toEqual(plain(sumOf(events, span.start, span.end)));
    }
  });
});

describe('closing', () => {
  it('an hour is closed 10 minutes after its end, and once more a day after it', async () => {
    const { clock, store, closer, db, tenantId } = open();
    await store.record(anEvent(START + 5, randomNumbers(1)));
    const closedAt = async () => (await store.heads('HOUR', { start: START, end: START + 1 }))[0]?.closed ?? null;
    await clock.advance(HOUR_MS + 10 * MINUTE_MS - 1);
    await closer.round();
    expect(await closedAt()).toBeNull();
    await clock.advance(2);
    await closer.round();
    expect((await closedAt())?.generation).toBe(1);
    await closer.round();
    expect((await closedAt())?.generation).toBe(1);
    await clock.advance(DAY_MS);
    await closer.round();
    expect((await closedAt())?.generation).toBe(2);
    const due = (await db.dueHours.due(clock.now() + 10 * DAY_MS)).filter((work) => work.tenantId === tenantId);
    expect(due).toEqual([]);
  });

  it('by two closers at once, with events that come meanwhile, ends with what the events say', async () => {
    const { clock, store } = open();
    const random = randomNumbers(11);
    const events = Array.from({ length: 40 }, (_, n) => anEvent(START + n * 80_000, random));
    await Promise.all(events.slice(0, 20).map((event) => store.record(event)));
    await clock.advance(2 * HOUR_MS);
    const hour = periodName('HOUR', START);
    await Promise.all([
      closeHour(store, hour, clock),
      closeHour(store, hour, clock),
      ...events.slice(20).map((event) => store.record(event)),
      closeHour(store, hour, clock),
    ]);
    const read = () => readWhole(store, { start: START, end: START + HOUR_MS });
    expect(plain(await read())).toEqual(plain(sumOf(events, START, START + HOUR_MS)));
    expect(await closeHour(store, hour, clock)).toBe(true);
    expect(plain(await read())).toEqual(plain(sumOf(events, START, START + HOUR_MS)));
  });

  it('that another one has overtaken, or an event has come in the way of, is not finished', async () => {
    const { clock, store, db, tenantId } = open();
    await store.record(anEvent(START + 5, () => 0.5));
    await clock.advance(2 * HOUR_MS);
    const hour = periodName('HOUR', START);
    const { users: _users, ...tally } = emptyTally();
    const result = { tally, dueAt: null };
    const slow = await store.beginClosing('HOUR', hour);
    const fast = await store.beginClosing('HOUR', hour);
    expect(await store.finishClosing('HOUR', hour, slow, result)).toBe(false);
    expect(await store.finishClosing('HOUR', hour, fast, result)).toBe(true);
    const third = await store.beginClosing('HOUR', hour);
    await store.record(anEvent(START + 6, () => 0.5));
    expect(await store.finishClosing('HOUR', hour, third, result)).toBe(false);
    // It is due again, and soon.
    const due = await db.dueHours.due(clock.now() + 2 * MINUTE_MS);
    expect(due.filter((work) => work.tenantId === tenantId)).toEqual([{ tenantId, hour }]);
  });

  it('by one that is overtaken leaves what the other one stored', async () => {
    const { clock, store } = open();
    const event = anEvent(START + 5, () => 0.5);
    await store.record(event);
    await clock.advance(2 * HOUR_MS);
    const hour = periodName('HOUR', START);
    let overtaken = 0;
    const finishClosing: UsageStore['finishClosing'] = async (...closing) => {
      if (overtaken++ === 0) await closeHour(store, hour, clock);
      return store.finishClosing(...closing);
    };
    expect(await closeHour({ ...store, finishClosing }, hour, clock)).toBe(true);
    expect(overtaken).toBe(2);
    const tally = await readWhole(store, { start: START, end: START + HOUR_MS });
    expect(plain(tally)).toEqual(plain(tallyOf(event)));
  });

  it('an event recorded again after its hour was closed counts once', async () => {
    const { clock, store, closer } = open();
    const event = anEvent(START + 5, () => 0.5);
    await store.record(event);
    await clock.advance(2 * HOUR_MS);
    await closer.round();
    for (let n = 0; n < 3; n++) await store.record(event);
    await clock.advance(2 * MINUTE_MS);
    await closer.round();
    const tally = await readWhole(store, { start: START, end: START + HOUR_MS });
    expect(plain(tally)).toEqual(plain(tallyOf(event)));
  });

  it('a day is closed when it is over and all of its hours are, and an event that comes late opens it again', async () => {
    const { clock, store, closer } = open();
    const random = randomNumbers(3);
    for (const hour of [1, 9]) await store.record(anEvent(START + hour * HOUR_MS, random));
    const day = async () => (await store.heads('DAY', { start: START, end: START + 1 }))[0]?.closed ?? null;
    await clock.advance(20 * HOUR_MS);
    await closer.round();
    expect(await day()).toBeNull();
    await store.record(anEvent(START + 23 * HOUR_MS, random));
    await clock.advance(5 * HOUR_MS);
    expect(await closeDay(store, periodName('DAY', START), clock)).toBe(false);
    await closer.round();
    expect(await day()).not.toBeNull();
    await store.record(anEvent(START + 2 * HOUR_MS, random));
    expect(await day()).toBeNull();
    await clock.advance(2 * MINUTE_MS);
    await closer.round();
    expect(await day()).not.toBeNull();
  });

  it('many users are stored in as many rows as it takes', async () => {
    const { clock, store } = open();
    const users = Array.from({ length: 300 }, (_, n) => `user-${ulid(START + n)}`);
    const turn = (userId: string, n: number) => ({ ...anEvent(START + n, () => 0.5), userId }) as UsageEvent;
    await Promise.all(users.map((userId, n) => store.record(turn(userId, n))));
    await clock.advance(2 * HOUR_MS);
    await closeHour(store, periodName('HOUR', START), clock);
    const tally = await readWhole(store, { start: START, end: START + HOUR_MS });
    expect(Object.keys(tally.users)).toHaveLength(300);
  });
});

it('reconciling closes what is over, and says what that changed', async () => {
  const { clock, store } = open();
  const events = [anEvent(START + 5, () => 0.5), anEvent(START + 2 * HOUR_MS, () => 0.4)];
  for (const event of events) await store.record(event);
  await clock.advance(DAY_MS + HOUR_MS);
  const span = { start: START, end: START + DAY_MS };
  const first = await reconcile(store, span, clock);
  expect(first).toMatchObject({ hours: 2, days: 1 });
  expect(first.changed.map(({ before }) => before)).toEqual([null, null]);
  expect(await reconcile(store, span, clock)).toEqual({ hours: 2, days: 1, expired: 0, changed: [] });
  expect(await collect(store.events(START, START + DAY_MS))).toHaveLength(2);
});
