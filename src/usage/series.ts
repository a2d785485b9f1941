import { DateTime, IANAZone } from 'luxon';
import { isoTime } from '../kernel/clock.ts';
import { badInput } from '../kernel/errors.ts';
import type { UsagePoint } from './model.ts';
import { costOf, tokenTotals } from './summary.ts';
import type { BaseTally } from './ports.ts';
import type { Tally, TokenCounters } from './tally.ts';

export const POINTS_MAX = 1_000;

export type SeriesBucket = 'HOUR' | 'DAY';

/** What a series is limited to: one agent, one model, or one user. */
export interface SeriesFilter {
  readonly agentId?: string | null | undefined;
  readonly modelId?: string | null | undefined;
  readonly userId?: string | null | undefined;
}

/**
 * The zone by the name the runtime knows it by. What is built for a zone is kept for the life of the process, and names are taken in
 * upper and lower case: kept as they were given, they would have no end.
 */
function zoneNamed(name: string): string {
  if (!IANAZone.isValidZone(name))
    throw badInput('`timeZone` is the name of a time zone, e.g. Europe/Berlin.', 'timeZone');
  return new Intl.DateTimeFormat('en', { timeZone: name }).resolvedOptions().timeZone;
}

/**
 * The borders between the points of a series: the hours or days of a time zone that lie in [start, end), the first and the last one
 * cut. @throws BAD_USER_INPUT for a zone that is none, and for more than 1,000 points.
 */
export function seriesBorders(
  { start, end }: { start: Date; end: Date },
  bucket: SeriesBucket,
  timeZone: string,
): number[] {
  const unit = bucket === 'HOUR' ? 'hour' : 'day';
  const first = DateTime.fromJSDate(start, { zone: zoneNamed(timeZone) }).startOf(unit);
  const borders = [start.getTime()];
  for (let count = 1; ; count++) {
    // Where clocks change at midnight, or by half an hour, what comes a unit later is not the start of one.
    const border = first
      .plus({ [unit]: count })
      .startOf(unit)
      .toMillis();
    if (border >= end.getTime()) break;
    // Where they change, two may start at the same moment.
    if (border <= (borders.at(-1) ?? 0)) continue;
    if (borders.length === POINTS_MAX) throw badInput(`A series has at most ${POINTS_MAX} points.`, 'bucket');
    borders.push(border);
  }
  return [...borders, end.getTime()];
}

/** @throws BAD_USER_INPUT for a filter with more than one name: sums are kept by each, and not by any two. */
export function checkFilter(filter: SeriesFilter | null | undefined): SeriesFilter {
  const names = Object.values(filter ?? {}).filter((name) => name != null);
  if (names.length > 1) throw badInput('Filter by one of agentId, modelId and userId.', 'filter');
  return filter ?? {};
}

/** With its users where the series is one user's. */
type SeriesTally = BaseTally & Partial<Pick<Tally, 'users'>>;

const NOTHING: TokenCounters = { input: 0, output: 0 };
const NANO = 1e9;

/** What a tally says of the agent, model or user a series is limited to; null where nobody counts that. */
function countsOf(
  tally: SeriesTally,
  { agentId, modelId, userId }: SeriesFilter,
): Omit<UsagePoint, 'tenantId' | 'start' | 'end'> {
  if (agentId != null) {
    const agent = tally.agents[agentId];
    return { tokens: tokenTotals(agent ?? NOTHING), turns: null, invocations: agent?.invocations ?? 0, costUsd: null };
  }
  if (modelId != null) {
    const model = tally.models[modelId];
    const costUsd = (model?.nanoUsd ?? 0) / NANO;
    return { tokens: tokenTotals(model ?? NOTHING), turns: null, invocations: null, costUsd };
  }
  if (userId != null) {
    const user = tally.users?.[userId];
    return { tokens: tokenTotals(user ?? NOTHING), turns: user?.turns ?? 0, invocations: null, costUsd: null };
  }
  const invocations = tally.services.RUNTIME.calls;
  return { tokens: tokenTotals(tally), turns: tally.turns, invocations, costUsd: costOf(tally.models) };
}

export const pointsOf = (
  tenantId: UsagePoint['tenantId'],
  borders: readonly number[],
  tallies: readonly SeriesTally[],
  filter: SeriesFilter,
): UsagePoint[] =>
  tallies.map((tally, index) => ({
    tenantId,
    start: isoTime(borders[index] ?? 0),
    end: isoTime(borders[index + 1] ?? 0),
    ...countsOf(tally, filter),
  }));
