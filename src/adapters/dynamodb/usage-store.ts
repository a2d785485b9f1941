import type { Clock } from '../../kernel/clock.ts';
import { ulidPrefix, ulidTime } from '../../kernel/ids.ts';
import type { ServiceCalls, UsageEvent } from '../../usage/model.ts';
import { CLOSE_AFTER_MS, CLOSE_AGAIN_MS, periodEnd, periodName, type PeriodKind } from '../../usage/periods.ts';
import type { UsageRetention, UsageStore } from '../../usage/ports.ts';
import type { TenantRows } from './conversation-store.ts';
import { dueRowAt } from './keys.ts';
import { createPeriodStore } from './period-store.ts';
import { keptUntil, type Item } from './table.ts';

/** Hours read at the same time. */
const HOURS_AT_ONCE = 8;
/** Rows of a page that is read for somebody who may be slow: what is held for them until they go on. */
const PAGE_ROWS = 200;
/** Hours whose heads this process remembers to have written; more, and it begins anew. */
const HEADS_KEPT_MAX = 1_000;

type EventRow = Item & UsageEvent;

export interface UsageStoreOptions {
  /** Names of the hours whose heads this process has written. */
  readonly marked: Set<string>;
  readonly clock: Clock;
  readonly kept: UsageRetention;
}

/** The form of the rows this version writes. */
const VERSION = 2;

/** What events of the first version had no place for. */
const upgraded = (event: UsageEvent): UsageEvent => {
  if (event.kind === 'LATE_TOKENS') return event;
  if (event.kind === 'SIGN_IN') return { ...event, identityProvider: 'PASSWORD' };
  const calls = (service: Pick<ServiceCalls, 'latenciesMs' | 'failures'>): ServiceCalls => ({
    ...service,
    calls: service.latenciesMs.length,
    targets: [],
  });
  return {
    ...event,
    ...{ requestIds: [], traceIds: [], sessionId: null, signInId: null },
    ...{ memory: calls(event.memory), knowledgeBase: calls(event.knowledgeBase) },
    actionGroup: calls(event.actionGroup),
  };
};

/** A row without what only the table is concerned with. */
const eventOf = ({ PK: _pk, SK: _sk, w: _w, v, ttl: _ttl, ...event }: EventRow): UsageEvent =>
  v === VERSION ? event : upgraded(event);

/** The ULID whose time is the event's. */
const ulidOf = (event: UsageEvent): string => (event.kind === 'SIGN_IN' ? event.id : event.turnId);
/** What the row is named: a turn has one event of each kind. */
const idOf = (event: UsageEvent): string => (event.kind === 'LATE_TOKENS' ? `${event.turnId}.late` : ulidOf(event));
const timeOf = (event: UsageEvent): number => ulidTime(ulidOf(event));
const hourOf = (ms: number): string => periodName('HOUR', ms);

/**
 * The usage events of one tenant, in one partition an hour. The hour comes from the event's id, so that recording an event
 * again meets the same row whatever the time is then. The head of an hour says that it has events, so that a long period is not
 * read hour by hour; it is written before the event, because an event without it would never be found.
 */
export function createUsageStore(rows: TenantRows, options: UsageStoreOptions): UsageStore {
  const { table, keys } = rows;
  const { marked, clock, kept } = options;
  const periods = createPeriodStore(rows, { clock, kept });
  const sumsUntil = (kind: PeriodKind, name: string) => keptUntil(kept.sumsUntil(kind, name));

  async function mark(hour: string) {
    const key = keys.usagePeriod('HOUR', hour);
    const name = `${key.PK} ${hour}`;
    if (marked.has(name)) return;
    await table.create(key, { ...dueRowAt(periodEnd('HOUR', hour) + CLOSE_AFTER_MS, key), ...sumsUntil('HOUR', hour) });
    if (marked.size >= HEADS_KEPT_MAX) marked.clear();
    marked.add(name);
  }

  /** After the event, not before it: a closer that sees the count has seen the event. */
  async function openAgain(hour: string) {
    const key = keys.usagePeriod('HOUR', hour);
    await table.update(key, { set: dueRowAt(clock.now() + CLOSE_AGAIN_MS, key), add: { late: 1 } });
    const day = hour.slice(0, 8);
    await table.update(keys.usagePeriod('DAY', day), { set: sumsUntil('DAY', day), add: { late: 1 } });
  }

  /** The events of one hour from one moment to another. */
  async function eventsOfHour(hour: string, startMs: number, endMs: number): Promise<UsageEvent[]> {
    const events: UsageEvent[] = [];
    const between = keys.usageEventsBetween(hour, ulidPrefix(startMs), ulidPrefix(endMs));
    for await (const row of table.rows<EventRow>(between)) {
      events.push(eventOf(row));
    }
    return events.filter((event) => timeOf(event) >= startMs && timeOf(event) < endMs);
  }

  return {
    ...periods,

    async record(event) {
      const hour = hourOf(timeOf(event));
      const until = kept.eventUntil(event.kind, hour);
      if (clock.now() >= until) return; // whoever looks would not see it
      await mark(hour);
      await table.create(keys.usageEvent(hour, idOf(event)), { ...event, v: VERSION, ...keptUntil(until) });
      if (clock.now() >= periodEnd('HOUR', hour) && periods.canClose('HOUR', hour)) await openAgain(hour);
    },

    async turn(turnId) {
      const row = await table.get<EventRow>(keys.usageEvent(hourOf(ulidTime(turnId)), turnId));
      const event = row && eventOf(row);
      return event?.kind === 'TURN' ? event : null;
    },

    async *events(startMs, endMs) {
      const [first, last] = [hourOf(startMs), hourOf(endMs - 1)];
      if (first === last) return yield* await eventsOfHour(first, startMs, endMs);
      let hours: string[] = [];
      async function* read() {
        const found = await Promise.all(hours.splice(0).map((hour) => eventsOfHour(hour, startMs, endMs)));
        for (const events of found) yield* events;
      }
      const heads = { ...keys.usagePeriods('HOUR', first, last), keysOnly: true };
      for await (const { SK } of table.rows<Item & { SK: string }>(heads)) {
        hours = [...hours, SK.slice('H#'.length)];
        if (hours.length === HOURS_AT_ONCE) yield* read();
      }
      yield* read();
    },

    async *ordered({ startMs, endMs, after }) {
      const start = after === null ? startMs : Math.max(startMs, ulidTime(after));
      if (start >= endMs) return;
      const heads = { ...keys.usagePeriods('HOUR', hourOf(start), hourOf(endMs - 1)), keysOnly: true };
      const [from, to] = [after !== null && start > startMs ? after : ulidPrefix(start), ulidPrefix(endMs)];
      for await (const { SK: head } of table.rows<Item & { SK: string }>(heads)) {
        const query = { ...keys.usageEventsBetween(head.slice('H#'.length), from, to), limit: PAGE_ROWS };
        for await (const row of table.rows<EventRow & { SK: string }>(query)) {
          if (after === null || row.SK > after) yield { id: row.SK, event: eventOf(row) };
        }
      }
    },
  };
}
