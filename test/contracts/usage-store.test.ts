import { describe, expect, it } from 'vitest';
import { ulid } from '../../src/kernel/ids.ts';
import type { UsageEvent } from '../../src/usage/model.ts';
import type { UsageStore } from '../../src/usage/ports.ts';
import { collect } from '../support/collect.ts';
import { METERING } from '../support/conversation-rows.ts';
import { onEveryEngine } from '../support/dynamodb-storage.ts';
import { aService } from '../support/usage-rows.ts';

const HOUR = 3_600_000;
const NOON = Date.parse('2026-11-20T12:00:00.000Z');

const aTurnEvent = (atMs: number, more: Partial<Extract<UsageEvent, { kind: 'TURN' }>> = {}): UsageEvent => ({
  kind: 'TURN',
  ...METERING,
  knowledgeBase: aService([12, 30], { failures: 1 }),
  turnId: ulid(atMs),
  conversationId: 'conv-1',
  signInId: null,
  userId: 'user-1',
  agentId: 'support',
  first: true,
  status: 'COMPLETED',
  errorCode: null,
  models: [],
  priceVersion: null,
  ...more,
});

const aSignIn = (atMs: number): UsageEvent => ({
  ...{ kind: 'SIGN_IN', id: ulid(atMs), userId: 'user-1', identityProvider: 'PASSWORD', latencyMs: 40 },
});

const idOf = (event: UsageEvent): string => (event.kind === 'SIGN_IN' ? event.id : event.turnId);
const sorted = (events: readonly UsageEvent[]) => events.toSorted((a, b) => (idOf(a) < idOf(b) ? -1 : 1));

async function read(store: UsageStore, start: number, end: number): Promise<UsageEvent[]> {
  return sorted(await collect(store.events(start, end)));
}

onEveryEngine('UsageStore', (storage) => {
  const open = () => {
    const tenantId = storage().tenant();
    return { tenantId, usage: storage().connect().forTenant(tenantId).usage };
  };

  it('events are read back as they were, of both kinds', async () => {
    const { usage } = open();
    const events = [
      aTurnEvent(NOON, { modelId: null, firstTextMs: null, errorCode: 'INTERRUPTED' }),
      aSignIn(NOON + 5),
    ];
    for (const event of events) await usage.record(event);
    expect(await read(usage, NOON, NOON + HOUR)).toEqual(sorted(events));
  });

  it('an event recorded again stays as it was and counts once, whoever records it', async () => {
    const { tenantId, usage } = open();
    const event = aTurnEvent(NOON);
    await usage.record(event);
    await usage.record({ ...event, inputTokens: 999 } as UsageEvent);
    await storage().connect().forTenant(tenantId).usage.record(event);
    await Promise.all(Array.from({ length: 10 }, () => usage.record(event)));
    expect(await read(usage, NOON, NOON + HOUR)).toEqual([event]);
  });

  it('the event of a turn is found by the turn, and nothing by another or by a sign-in', async () => {
    const { usage } = open();
    const [turn, signIn] = [aTurnEvent(NOON), aSignIn(NOON)];
    for (const event of [turn, signIn]) await usage.record(event);
    expect(await usage.turn(idOf(turn))).toEqual(turn);
    expect(await usage.turn(idOf(signIn))).toBeNull();
    expect(await usage.turn(ulid(NOON))).toBeNull();
  });

  it('a period holds its start and not its end, to the millisecond', async () => {
    const { usage } = open();
    const times = [-HOUR, -1, 0, 1, HOUR - 1, HOUR, HOUR + 1, 3 * HOUR].map((offset) => NOON + offset);
    const events = times.map((time) => aTurnEvent(time));
    for (const event of events) await usage.record(event);
    const between = async (start: number, end: number) => read(usage, NOON + start, NOON + end);
    const of = (start: number, end: number) =>
      sorted(events.filter((_, n) => times[n]! >= NOON + start && times[n]! < NOON + end));
    for (const [start, end] of [
      [0, 1],
      [0, HOUR],
      [-1, HOUR],
      [1, HOUR + 1],
      [-HOUR, 4 * HOUR],
      [2 * HOUR, 3 * HOUR],
    ] as const)
      expect(await between(start, end)).toEqual(of(start, end));
  });

  it('an hour of several megabytes, and many hours, are read to the end', async () => {
    const { usage } = open();
    const latenciesMs = Array.from({ length: 5_000 }, (_, n) => n + 0.5);
    const large = Array.from({ length: 60 }, (_, n) => aTurnEvent(NOON + n, { actionGroup: aService(latenciesMs) }));
    const spread = Array.from({ length: 30 }, (_, n) => aTurnEvent(NOON + (n + 1) * 7 * HOUR));
    await Promise.all([...large, ...spread].map((event) => usage.record(event)));
    const found = await read(usage, NOON, NOON + 400 * 24 * HOUR);
    expect(found.map(idOf)).toEqual(sorted([...large, ...spread]).map(idOf));
    expect(found[0]).toEqual(sorted(large)[0]);
  });

  describe('in order', () => {
    const all = { startMs: NOON - HOUR, endMs: NOON + 400 * 24 * HOUR, after: null };
    const ordered = (store: UsageStore, period: Parameters<UsageStore['ordered']>[0]) => collect(store.ordered(period));

    it('by id, across pages and hours, with the id of each; behind any of them, exactly the rest', async () => {
      const { usage } = open();
      const turns = Array.from({ length: 450 }, (_, n) => aTurnEvent(NOON + Math.floor(n / 3)));
      const spread = [aSignIn(NOON + HOUR), aTurnEvent(NOON + 30 * HOUR), aTurnEvent(NOON + 399 * 24 * HOUR)];
      const { turnId } = turns[100] as Extract<UsageEvent, { kind: 'TURN' }>;
      const tokens = { inputTokens: 1, outputTokens: 2, estimatedTokens: 0 };
      const late = {
        kind: 'LATE_TOKENS',
        turnId,
        userId: 'u',
        agentId: 'a',
        models: [],
        priceVersion: null,
        ...tokens,
      } as const;
      const events = [...turns, ...spread, late];
      for (let from = 0; from < events.length; from += 50)
        await Promise.all(events.slice(from, from + 50).map((event) => usage.record(event)));
      const found = await ordered(usage, all);
      const expected = [...turns, ...spread].map((event) => ({ id: idOf(event), event }));
      const whole = [...expected, { id: `${turnId}.late`, event: late as UsageEvent }];
      expect(found).toEqual(whole.toSorted((a, b) => (a.id < b.id ? -1 : 1)));
      for (const n of [0, 1, 100, 101, 199, 200, 201, 399, 449, 450, 451, 452, 453]) {
        expect(await ordered(usage, { ...all, after: found[n]!.id })).toEqual(found.slice(n + 1));
      }
    });

    it('a period holds its start and not its end, to the millisecond, wherever it goes on', async () => {
      const { usage } = open();
      const events = [-1, 0, 1, HOUR - 1, HOUR, HOUR + 1].map((offset) => aTurnEvent(NOON + offset));
      for (const event of events) await usage.record(event);
      const from = async (start: number, end: number, after: string | null = null) =>
        (await ordered(usage, { startMs: NOON + start, endMs: NOON + end, after })).map(({ event }) => event);
      expect(await from(0, HOUR)).toEqual(events.slice(1, 4));
      expect(await from(1, HOUR + 1)).toEqual(events.slice(2, 5));
      expect(await from(1, 1 + HOUR, idOf(events[0]!))).toEqual(events.slice(2, 5));
      expect(await from(0, HOUR, idOf(events[5]!))).toEqual([]);
      expect(await from(2, HOUR - 1)).toEqual([]);
    });

    it("another tenant's events are not among them, also behind one of its ids", async () => {
      const event = aTurnEvent(NOON);
      await open().usage.record(event);
      expect(await ordered(open().usage, all)).toEqual([]);
      expect(await ordered(open().usage, { ...all, after: idOf(event) })).toEqual([]);
    });

    it('an hour of several megabytes is read to the end', async () => {
      const { usage } = open();
      const latenciesMs = Array.from({ length: 5_000 }, (_, n) => n + 0.5);
      const large = Array.from({ length: 60 }, (_, n) => aTurnEvent(NOON + n, { actionGroup: aService(latenciesMs) }));
      await Promise.all(large.map((event) => usage.record(event)));
      expect((await ordered(usage, all)).map(({ event }) => event)).toEqual(large);
    });
  });

  it("another tenant's events are not among them", async () => {
    const { usage } = open();
    await usage.record(aTurnEvent(NOON));
    expect(await read(open().usage, NOON - HOUR, NOON + HOUR)).toEqual([]);
  });

  it('an event whose recording died is either found or not stored, and recording it again mends it', async () => {
    const { tenantId, usage } = open();
    for (const broken of ['#E#', '"H#']) {
      const proxy = await storage().proxy();
      proxy.decide(({ operation, body }) => (operation === 'PutItem' && body.includes(broken) ? 'refuse' : 'pass'));
      const event = aTurnEvent(NOON + (broken === '#E#' ? 0 : 24 * HOUR));
      await expect(storage().connect({ proxy }).forTenant(tenantId).usage.record(event)).rejects.toThrow();
      expect(
        (await storage().rowsOf(tenantId)).filter((row) => 'turnId' in row && row['turnId'] === idOf(event)),
      ).toEqual([]);
      await usage.record(event);
      const time = NOON + (broken === '#E#' ? 0 : 24 * HOUR);
      expect(await read(usage, time, time + HOUR)).toEqual([event]);
    }
  });

  it('a failed marker is tried again by the next event of the hour', async () => {
    const { tenantId } = open();
    const proxy = await storage().proxy();
    const { usage } = storage().connect({ proxy }).forTenant(tenantId);
    proxy.decide(({ body }) => (body.includes('"H#') ? 'refuse' : 'pass'));
    await expect(usage.record(aTurnEvent(NOON))).rejects.toThrow();
    proxy.decide(null);
    const event = aTurnEvent(NOON + 1);
    await usage.record(event);
    expect(await read(usage, NOON, NOON + HOUR)).toEqual([event]);
  });
});
