import { isoTime } from '../kernel/clock.ts';
import { badInput } from '../kernel/errors.ts';
import { ULID_PATTERN, ulidTime } from '../kernel/ids.ts';
import { pieces } from '../kernel/pieces.ts';
import { dayOf, type ChainedEntry } from './model.ts';
import type { SealStore } from './ports.ts';
import { positionOf } from './service.ts';

const ENTRY_ID = new RegExp(`^${ULID_PATTERN}$`);

interface Period {
  readonly start: Date;
  readonly end: Date;
}

/** An entry as a line: with its place in its chain, so that what was exported can be verified as well. */
const lineOf = (entry: ChainedEntry): string => `${JSON.stringify(entry)}\n`;

/** The trail of one tenant as JSON Lines, the oldest entry first. */
export function createAuditExport(store: Pick<SealStore, 'days' | 'ofDay'>) {
  function check({ start, end }: Period) {
    if (end <= start) throw badInput('`end` must be later than `start`.', 'end');
  }

  function checkAfter(after: string, { start, end }: Period) {
    const time = ENTRY_ID.test(after) ? ulidTime(after) : NaN;
    if (!(time >= start.getTime() && time < end.getTime()))
      throw badInput('`after` must be the id of an entry of this period.', 'after');
  }

  /** The entries behind one position and before another. */
  async function* entries(behind: string, before: string): AsyncGenerator<ChainedEntry> {
    const days = await store.days(dayOf(behind), dayOf(before));
    for (const day of days.toReversed())
      for await (const { position, entry } of store.ofDay(day)) if (position > behind && position < before) yield entry;
  }

  async function* lines({ start, end }: Period, after: string | null) {
    // A moment sorts before the positions of its entries.
    const behind = after === null ? isoTime(start.getTime()) : positionOf({ at: isoTime(ulidTime(after)), id: after });
    for await (const entry of entries(behind, isoTime(end.getTime()))) yield lineOf(entry);
  }

  return {
    check,
    text(period: Period, after: string | null): AsyncIterable<string> {
      check(period);
      if (after !== null) checkAfter(after, period);
      return pieces(lines(period, after));
    },
  };
}
