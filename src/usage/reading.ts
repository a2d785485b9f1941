import { contains, HOUR_MS, intersection, MINUTE_MS, periodEnd, periodStart, without, type Span } from './periods.ts';
import type { PeriodHead, UsageStore } from './ports.ts';
import { addTo, emptyTally, tallyOf, type Tally } from './tally.ts';

type ClosedHead = PeriodHead & { readonly closed: NonNullable<PeriodHead['closed']> };

const isClosed = (head: PeriodHead): head is ClosedHead => head.closed !== null;
const generationsOf = (heads: readonly ClosedHead[]) =>
  new Map(heads.map(({ name, closed }) => [name, closed.generation]));

const hourSpan = (name: string): Span => ({ start: periodStart(name), end: periodEnd('HOUR', name) });
const daySpan = (name: string): Span => ({ start: periodStart(name), end: periodEnd('DAY', name) });

export interface ReadOptions {
  /** Whether the tally has its users too, which costs reads of their own. */
  readonly users: boolean;
}

/**
 * The sums of a span of time, exact to the millisecond at both ends: closed days where it covers them, closed hours and minutes
 * towards its ends, and single events only within minutes that it cuts and within hours that are open.
 */
export async function readTally(store: UsageStore, span: Span, { users }: ReadOptions): Promise<Tally> {
  const total = emptyTally();

  async function addClosed(kind: 'DAY' | 'HOUR', heads: readonly ClosedHead[]) {
    for (const { closed } of heads) addTo<Omit<Tally, 'users'>>(total, closed.tally);
    if (!users || heads.length === 0) return;
    for (const part of (await store.readParts(kind, 'USERS', generationsOf(heads))).values()) addTo(total.users, part);
  }

  async function addEvents({ start, end }: Span) {
    if (start >= end) return;
    for await (const event of store.events(start, end)) addTo(total, tallyOf(event));
  }

  /** A closed hour that the span cuts: its whole minutes, and the events of those that are cut. */
  async function addPartOfHours(heads: readonly ClosedHead[]) {
    if (heads.length === 0) return;
    const parts = await store.readParts('HOUR', 'MINUTES', generationsOf(heads));
    for (const { name } of heads) {
      const hour = hourSpan(name);
      const cut = intersection(hour, span);
      const whole: Span[] = [];
      for (const [minute, tally] of Object.entries(parts.get(name) ?? {})) {
        const start = hour.start + Number(minute) * MINUTE_MS;
        const minuteSpan = { start, end: start + MINUTE_MS };
        if (contains(cut, minuteSpan)) addTo(total, tally);
        else if (intersection(cut, minuteSpan).start < intersection(cut, minuteSpan).end) whole.push(minuteSpan);
      }
      for (const minute of whole) await addEvents(intersection(cut, minute));
    }
  }

  async function addHours(rest: Span) {
    const heads = await store.heads('HOUR', rest);
    const closed = heads.filter(isClosed);
    const covered = closed.filter(({ name }) => contains(rest, hourSpan(name)));
    await Promise.all([
      addClosed('HOUR', covered),
      addPartOfHours(closed.filter((head) => !covered.includes(head))),
      ...heads.filter((head) => !isClosed(head)).map(({ name }) => addEvents(intersection(hourSpan(name), rest))),
    ]);
  }

  const days = span.end - span.start > HOUR_MS ? await store.heads('DAY', span) : [];
  const covered = days.filter(isClosed).filter(({ name }) => contains(span, daySpan(name)));
  const spans = covered.map(({ name }) => daySpan(name));
  await Promise.all([addClosed('DAY', covered), ...without(span, spans).map(addHours)]);
  return total;
}
