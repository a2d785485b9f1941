import { contains, DAY_MS, intersection, MINUTE_MS, periodEnd, periodStart, without, type Span } from './periods.ts';
import type { BaseTally, PeriodHead, UsageStore } from './ports.ts';
import { addTo, emptyTally, tallyOf, timeOf, type Tally } from './tally.ts';

type ClosedHead = PeriodHead & { readonly closed: NonNullable<PeriodHead['closed']> };

const isClosed = (head: PeriodHead): head is ClosedHead => head.closed !== null;
const generationsOf = (heads: readonly ClosedHead[]) =>
  new Map(heads.map(({ name, closed }) => [name, closed.generation]));

const hourSpan = (name: string): Span => ({ start: periodStart(name), end: periodEnd('HOUR', name) });
const daySpan = (name: string): Span => ({ start: periodStart(name), end: periodEnd('DAY', name) });
const isEmpty = ({ start, end }: Span): boolean => start >= end;

/** What was read of spans. */
export interface Reading {
  /** The sums of each span. */
  readonly tallies: readonly BaseTally[];
  /** The same with their users, or with one of them, for which no more is read than the users of what was found closed. */
  withUsers(userId?: string): Promise<readonly Tally[]>;
}

/** Spans that follow one another, and the tally of each. */
function createBuckets(borders: readonly number[]) {
  const tallies = Array.from({ length: borders.length - 1 }, emptyTally);
  /** The last border that is not after this moment. */
  function indexOf(ms: number): number {
    let [low, high] = [0, borders.length - 1];
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if ((borders[middle] ?? Infinity) <= ms) low = middle;
      else high = middle - 1;
    }
    return low;
  }
  const spanOf = (index: number): Span => ({ start: borders[index] ?? 0, end: borders[index + 1] ?? 0 });
  return {
    tallies,
    whole: { start: borders[0] ?? 0, end: borders.at(-1) ?? 0 },
    widestMs: Math.max(...tallies.map((_, index) => spanOf(index).end - spanOf(index).start)),
    /** Whether a stretch of time lies in one bucket. */
    hold: (span: Span): boolean => {
      const index = indexOf(span.start);
      return span.start >= (borders[0] ?? 0) && index < tallies.length && contains(spanOf(index), span);
    },
    at: (ms: number, of: readonly Tally[] = tallies): Tally => of[indexOf(ms)] ?? emptyTally(),
  };
}

/**
 * The sums of the spans between borders, exact to the millisecond: closed days where a span covers them, closed hours and minutes
 * towards its ends, and single events only within minutes that a border cuts and within hours that are open.
 */
export async function readTallies(store: UsageStore, borders: readonly number[]): Promise<Reading> {
  const buckets = createBuckets(borders);
  /** What was added without its users. */
  const userless: { readonly kind: 'DAY' | 'HOUR'; readonly generations: ReadonlyMap<string, number> }[] = [];

  function addClosed(kind: 'DAY' | 'HOUR', heads: readonly ClosedHead[]) {
    for (const { name, closed } of heads) addTo<BaseTally>(buckets.at(periodStart(name)), closed.tally);
    if (heads.length > 0) userless.push({ kind, generations: generationsOf(heads) });
  }

  async function addEvents(span: Span) {
    if (isEmpty(span)) return;
    for await (const event of store.events(span.start, span.end)) addTo(buckets.at(timeOf(event)), tallyOf(event));
  }

  /** Closed hours that a border cuts: their whole minutes, and the events of those that are cut. */
  async function addPartOfHours(heads: readonly ClosedHead[]) {
    if (heads.length === 0) return;
    const cut: Span[] = [];
    for await (const [name, minutes] of store.readParts('HOUR', 'MINUTES', generationsOf(heads))) {
      for (const [number, tally] of Object.entries(minutes)) {
        const start = periodStart(name) + Number(number) * MINUTE_MS;
        const minute = { start, end: start + MINUTE_MS };
        if (buckets.hold(minute)) addTo(buckets.at(start), tally);
        else cut.push(intersection(minute, buckets.whole));
      }
    }
    for (const minute of cut) await addEvents(minute);
  }

  async function addHours(rest: Span) {
    const heads = await store.heads('HOUR', rest);
    const closed = heads.filter(isClosed);
    const held = closed.filter(({ name }) => contains(rest, hourSpan(name)) && buckets.hold(hourSpan(name)));
    addClosed('HOUR', held);
    await Promise.all([
      addPartOfHours(closed.filter((head) => !held.includes(head))),
      ...heads.filter((head) => !isClosed(head)).map(({ name }) => addEvents(intersection(hourSpan(name), rest))),
    ]);
  }

  const days = buckets.widestMs >= DAY_MS ? await store.heads('DAY', buckets.whole) : [];
  const held = days.filter(isClosed).filter(({ name }) => buckets.hold(daySpan(name)));
  const spans = held.map(({ name }) => daySpan(name));
  addClosed('DAY', held);
  await Promise.all(without(buckets.whole, spans).map(addHours));
  return {
    tallies: buckets.tallies,
    async withUsers(userId) {
      const wanted = (users: Tally['users']) => (userId === undefined ? users : only(users, userId));
      const whole = buckets.tallies.map((tally) => ({
        ...tally,
        users: addTo(emptyTally().users, wanted(tally.users)),
      }));
      for (const { kind, generations } of userless) {
        for await (const [name, users] of store.readParts(kind, 'USERS', generations))
          addTo(buckets.at(periodStart(name), whole).users, wanted(users));
      }
      return whole;
    },
  };
}

function only(users: Tally['users'], userId: string): Tally['users'] {
  const counters = Object.hasOwn(users, userId) ? users[userId] : undefined;
  return counters ? { [userId]: counters } : {};
}

/** The sums of one span of time, users aside. */
export async function readTally(store: UsageStore, { start, end }: Span): Promise<BaseTally> {
  const [tally = emptyTally()] = (await readTallies(store, [start, end])).tallies;
  return tally;
}
