import { badInput } from '../kernel/errors.ts';

/** A part of time, as rows are named by it: UTC. */
export type PeriodKind = 'DAY' | 'HOUR';

export const MINUTE_MS = 60_000;
export const HOUR_MS = 60 * MINUTE_MS;
export const DAY_MS = 24 * HOUR_MS;
const LENGTH_MS: Readonly<Record<PeriodKind, number>> = { DAY: DAY_MS, HOUR: HOUR_MS };
/** How long after its end an hour is closed: by then nearly all of its turns have ended. */
export const CLOSE_AFTER_MS = 10 * MINUTE_MS;
/** How soon a period is closed again when an event came late. */
export const CLOSE_AGAIN_MS = MINUTE_MS;
const NAME_LENGTH: Readonly<Record<PeriodKind, number>> = { DAY: 8, HOUR: 10 };

/** `2026-11-20T17:33:17.000Z` → `20261120` or `2026112017`. */
export const periodName = (kind: PeriodKind, ms: number): string =>
  new Date(ms).toISOString().replaceAll(/[-T]/g, '').slice(0, NAME_LENGTH[kind]);

/** The first moment of a period. */
export function periodStart(name: string): number {
  const [year, month, day, hour] = [name.slice(0, 4), name.slice(4, 6), name.slice(6, 8), name.slice(8, 10)];
  return Date.UTC(Number(year), Number(month) - 1, Number(day), Number(hour));
}

/** The first moment after a period. */
export const periodEnd = (kind: PeriodKind, name: string): number => periodStart(name) + LENGTH_MS[kind];

/** A half-open stretch of time, in milliseconds since the Unix epoch. */
export interface Span {
  readonly start: number;
  readonly end: number;
}

/** What is left of a span without these, which lie in it, in order, and do not overlap. */
export function without({ start, end }: Span, taken: readonly Span[]): Span[] {
  const left: Span[] = [];
  let from = start;
  for (const span of taken) {
    if (span.start > from) left.push({ start: from, end: span.start });
    from = span.end;
  }
  if (from < end) left.push({ start: from, end });
  return left;
}

export const intersection = (a: Span, b: Span): Span => ({
  start: Math.max(a.start, b.start),
  end: Math.min(a.end, b.end),
});

export const contains = (outer: Span, inner: Span): boolean => outer.start <= inner.start && inner.end <= outer.end;

/** Days of usage that may be asked for at once. */
export const PERIOD_DAYS_MAX = 400;

/** Times that are written with four digits of a year, as RFC 3339 has it; a zone's offset may lead beyond them. */
const WRITABLE: Span = { start: Date.parse('0000-01-01T00:00:00.000Z'), end: Date.parse('9999-12-31T23:59:59.999Z') };

/** Which usage may be asked for: [start, end). @throws BAD_USER_INPUT for an empty period, or one over 400 days. */
export function checkPeriod(start: Date, end: Date): void {
  if (end <= start) throw badInput('`end` must be later than `start`.', 'end');
  if (end.getTime() - start.getTime() > PERIOD_DAYS_MAX * DAY_MS) {
    throw badInput(`A period is at most ${PERIOD_DAYS_MAX} days long.`, 'end');
  }
  if (!contains(WRITABLE, { start: start.getTime(), end: end.getTime() }))
    throw badInput('A period lies in the years 0000 to 9999, UTC.', 'end');
}
