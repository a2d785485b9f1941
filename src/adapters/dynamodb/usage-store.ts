import { ulidTime } from '../../kernel/ids.ts';
import type { UsageEvent } from '../../usage/model.ts';
import type { UsageStore } from '../../usage/ports.ts';
import { hourOf } from './keys.ts';
import type { Item } from './table.ts';
import type { TenantRows } from './conversation-store.ts';

/** Hours read at the same time. */
const HOURS_AT_ONCE = 8;
/** Hours whose markers this process remembers to have written; more, and it begins anew. */
const MARKERS_KEPT_MAX = 1_000;

type EventRow = Item & UsageEvent;

/** The ULID whose time is the event's. */
const ulidOf = (event: UsageEvent): string => (event.kind === 'SIGN_IN' ? event.id : event.turnId);
/** What the row is named: a turn has one event of each kind. */
const idOf = (event: UsageEvent): string => (event.kind === 'LATE_TOKENS' ? `${event.turnId}.late` : ulidOf(event));
const timeOf = (event: UsageEvent): number => ulidTime(ulidOf(event));

/**
 * The usage events of one tenant, in one partition an hour. The hour comes from the event's id, so that recording an event
 * again meets the same row whatever the time is then. A marker says which hours have events, so that a long period is not
 * read hour by hour; it is written before the event, because an event without it would never be found.
 */
export function createUsageStore({ table, keys }: TenantRows, marked: Set<string>): UsageStore {
  async function mark(hour: string) {
    const key = keys.usageHour(hour);
    const name = `${key.PK} ${hour}`;
    if (marked.has(name)) return;
    await table.create(key, {});
    if (marked.size >= MARKERS_KEPT_MAX) marked.clear();
    marked.add(name);
  }

  async function eventsOfHour(hour: string): Promise<UsageEvent[]> {
    const events: UsageEvent[] = [];
    for await (const { PK: _pk, SK: _sk, w: _w, v: _v, ...event } of table.rows<EventRow>(keys.usageEventsOf(hour))) {
      events.push(event);
    }
    return events;
  }

  return {
    async record(event) {
      const hour = hourOf(timeOf(event));
      await mark(hour);
      await table.create(keys.usageEvent(hour, idOf(event)), { ...event, v: 1 });
    },

    async *events(startMs, endMs) {
      const marks = keys.usageHours(hourOf(startMs), hourOf(endMs - 1));
      let hours: string[] = [];
      async function* read() {
        for (const events of await Promise.all(hours.splice(0).map(eventsOfHour))) {
          yield* events.filter((event) => timeOf(event) >= startMs && timeOf(event) < endMs);
        }
      }
      for await (const { SK } of table.rows<Item & { SK: string }>({ ...marks, keysOnly: true })) {
        hours = [...hours, SK.slice('H#'.length)];
        if (hours.length === HOURS_AT_ONCE) yield* read();
      }
      yield* read();
    },
  };
}
