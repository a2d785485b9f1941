import type { Clock } from '../kernel/clock.ts';
import { repeat } from '../kernel/repeating.ts';
import type { TenantId } from '../tenancy/tenant-id.ts';
import { CLOSE_AFTER_MS, DAY_MS, MINUTE_MS, periodEnd, periodName, periodStart, type Span } from './periods.ts';
import type { BaseTally, DueHours, PeriodHead, UsageStore } from './ports.ts';
import { addTo, emptyTally, tallyOf, timeOf, type Tally } from './tally.ts';

/** How long after its end an hour is closed once more, whatever happened: that catches what a crash kept from being noticed. */
export const CHECK_AFTER_MS = DAY_MS;
const LOOK_EVERY_MS = MINUTE_MS;
/** Closings of one hour that events and other closers may get in the way of, before it is left for later. */
const TRIES = 5;

const baseOf = ({ users: _users, ...base }: Tally): BaseTally => base;

/**
 * Closes an hour: adds up all of its events, strongly consistent, and stores the sums under a new generation. Of several closers
 * the one that began last wins, and an event that comes meanwhile has it begin anew, so what is stored is what the events say.
 */
export async function closeHour(store: UsageStore, hour: string, clock: Clock): Promise<boolean> {
  const [start, end] = [periodStart(hour), periodEnd('HOUR', hour)];
  for (let tries = 0; tries < TRIES; tries++) {
    const closing = await store.beginClosing('HOUR', hour);
    const total = emptyTally();
    const minutes: Record<string, Tally> = {};
    for await (const event of store.events(start, end)) {
      const tally = tallyOf(event);
      const minute = String(Math.floor((timeOf(event) - start) / MINUTE_MS));
      addTo((minutes[minute] ??= emptyTally()), tally);
      addTo(total, tally);
    }
    if (!store.canClose('HOUR', hour)) return false; // asked after the reading: some may have gone meanwhile
    await Promise.all([
      store.writePart('HOUR', hour, closing.generation, 'MINUTES', minutes),
      store.writePart('HOUR', hour, closing.generation, 'USERS', total.users),
    ]);
    const last = end + CHECK_AFTER_MS;
    const result = { tally: baseOf(total), dueAt: clock.now() < last ? last : null };
    if (!(await store.finishClosing('HOUR', hour, closing, result))) continue;
    await store.dropOldParts('HOUR', hour, closing.generation);
    return true;
  }
  return false;
}

/** Closes a day if it is over and all of its hours are closed: it is their sum. */
export async function closeDay(store: UsageStore, day: string, clock: Clock): Promise<boolean> {
  const span = { start: periodStart(day), end: periodEnd('DAY', day) };
  if (clock.now() < span.end) return false;
  for (let tries = 0; tries < TRIES; tries++) {
    const closing = await store.beginClosing('DAY', day);
    const generations = new Map<string, number>();
    const total = emptyTally();
    for (const { name, closed } of await store.heads('HOUR', span)) {
      if (closed === null) return false;
      generations.set(name, closed.generation);
      addTo<BaseTally>(total, closed.tally);
    }
    for await (const [, users] of store.readParts('HOUR', 'USERS', generations)) addTo(total.users, users);
    if (!store.canClose('DAY', day)) return false;
    await store.writePart('DAY', day, closing.generation, 'USERS', total.users);
    const result = { tally: baseOf(total), dueAt: null };
    if (!(await store.finishClosing('DAY', day, closing, result))) continue;
    await store.dropOldParts('DAY', day, closing.generation);
    return true;
  }
  return false;
}

export interface Reconciliation {
  readonly hours: number;
  readonly days: number;
  /** Hours that are left as they are: not all of their events are kept any more. */
  readonly expired: number;
  /** The periods whose sums are not what they were, in tokens; null: it was open. */
  readonly changed: readonly { readonly name: string; readonly before: number | null; readonly after: number }[];
}

const tokensOf = (head: PeriodHead | undefined): number | null =>
  head?.closed ? head.closed.tally.input + head.closed.tally.output : null;

/** Closes every hour of a span that is over, whatever its state, and the days they complete, and says what that changed. */
export async function reconcile(store: UsageStore, span: Span, clock: Clock): Promise<Reconciliation> {
  const over = { start: span.start, end: Math.min(span.end, clock.now() - CLOSE_AFTER_MS) };
  if (over.start >= over.end) return { hours: 0, days: 0, expired: 0, changed: [] };
  const changed: { name: string; before: number | null; after: number }[] = [];
  const days = new Set<string>();
  let hours = 0;
  let expired = 0;
  for (const before of await store.heads('HOUR', over)) {
    if (!store.canClose('HOUR', before.name)) {
      expired++;
      continue;
    }
    if (periodEnd('HOUR', before.name) > over.end || !(await closeHour(store, before.name, clock))) continue;
    hours++;
    days.add(before.name.slice(0, 8));
    const [after] = await store.heads('HOUR', { start: periodStart(before.name), end: periodStart(before.name) + 1 });
    const [was, is] = [tokensOf(before), tokensOf(after)];
    if (was !== is) changed.push({ name: before.name, before: was, after: is ?? 0 });
  }
  const closed = await Promise.all([...days].map((day) => closeDay(store, day, clock)));
  return { hours, days: closed.filter(Boolean).length, expired, changed };
}

export interface UsageCloserLog {
  closingFailed(work: { readonly tenantId: TenantId; readonly hour: string } | null, error: unknown): void;
}

export interface UsageCloserDependencies {
  readonly due: DueHours;
  readonly storeOf: (tenantId: TenantId) => UsageStore;
  readonly clock: Clock;
  readonly log: UsageCloserLog;
}

/** Closes hours when they are due, ten minutes and a day after their end and after every late event, and the days they complete. */
export function createUsageCloser({ due, storeOf, clock, log }: UsageCloserDependencies) {
  async function round(): Promise<void> {
    for (const work of await due.due(clock.now())) {
      try {
        const store = storeOf(work.tenantId);
        if (!store.canClose('HOUR', work.hour)) await store.closeNoMore('HOUR', work.hour);
        else if (await closeHour(store, work.hour, clock)) {
          await closeDay(store, periodName('DAY', periodStart(work.hour)), clock);
        }
      } catch (error) {
        log.closingFailed(work, error); // one hour that cannot be closed must not hold up the others
      }
    }
  }

  return {
    round,
    start: () =>
      repeat({ clock, everyMs: LOOK_EVERY_MS, task: round, failed: (error) => log.closingFailed(null, error) }),
  };
}
