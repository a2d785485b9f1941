import { isoTime } from '../kernel/clock.ts';
import { badInput } from '../kernel/errors.ts';
import { pageOf, pageRequest, type Page } from '../kernel/page.ts';
import type { Cursors } from '../tenancy/cursor.ts';
import { DAY_MS, dayOf, dayStart, type AuditEntry, type AuditResult, type ChainedEntry } from './model.ts';
import type { AuditStore, Position, Slice } from './ports.ts';

const LIST = 'audit';
const PAGE_SIZE_DEFAULT = 50;
/** Slices that one page reads at most: what a rare filter may cost. */
export const SLICES_MAX = 10;
/** What is read at a time where a filter leaves out much of it. */
const FILTERED_SLICE = 100;
/** Before the first entry of any trail, and after the last one, in milliseconds since the Unix epoch. */
const EARLIEST = 0;
const LATEST = Date.UTC(9999, 11, 31);

/** What of a trail is wanted; [from, to) is half-open. */
export interface AuditFilter {
  readonly actorId?: string | null | undefined;
  readonly action?: string | null | undefined;
  readonly resource?: string | null | undefined;
  readonly result?: AuditResult | null | undefined;
  readonly from?: Date | null | undefined;
  readonly to?: Date | null | undefined;
}

export interface AuditPage {
  readonly first?: number | null | undefined;
  readonly after?: string | null | undefined;
}

/** The trail of one tenant, to be read. */
export interface AuditService {
  /**
   * The newest entries first. A page may hold fewer than `first`, even none, and yet not be the last one: what it costs is bounded, however
   * rare the filter, and `endCursor` is where the next page goes on. @throws BAD_USER_INPUT
   */
  list(filter: AuditFilter | null | undefined, page: AuditPage): Promise<Page<AuditEntry>>;
}

export const positionOf = ({ at, id }: Pick<AuditEntry, 'at' | 'id'>): Position => `${at}#${id}`;

export function createAuditService(store: AuditStore, cursors: Cursors): AuditService {
  return {
    async list(filter, { first, after }) {
      const request = pageRequest({ first: first ?? PAGE_SIZE_DEFAULT, after });
      const wanted = filter ?? {};
      const [from, to] = [wanted.from?.getTime() ?? EARLIEST, wanted.to?.getTime() ?? LATEST];
      if (from >= to) throw badInput('`from` must be earlier than `to`.', 'from');
      const start = cursors.open(LIST, request);
      const span = { from: isoTime(from), before: start !== null && start < isoTime(to) ? start : isoTime(to) };
      const matches = matching(wanted);
      const size = wanted.action || wanted.result ? FILTERED_SLICE : request.size + 1;

      const found: ChainedEntry[] = [];
      let stopped: Position | null = null;
      for await (const { entries, next } of slices(store, wanted, span, size)) {
        found.push(...entries.filter(matches));
        stopped = next;
        if (found.length > request.size) break;
      }
      const shown = found.slice(0, request.size);
      const end = shown.length < found.length ? shown.at(-1) : undefined;
      const last = end ? positionOf(end) : stopped;
      const edges = shown.map((node) => ({ cursor: cursors.seal(LIST, positionOf(node)), node }));
      const page = pageOf(edges, { hasNextPage: last !== null, hasPreviousPage: start !== null });
      const endCursor = last === null ? page.pageInfo.endCursor : cursors.seal(LIST, last);
      return { ...page, pageInfo: { ...page.pageInfo, endCursor } };
    },
  };
}

const matching =
  ({ actorId, action, resource, result }: AuditFilter) =>
  (entry: ChainedEntry) =>
    (actorId == null || entry.actorId === actorId) &&
    (action == null || entry.action === action) &&
    (resource == null || entry.resource === resource) &&
    (result == null || entry.result === result);

/** The trail in slices, newest first: through an index where one helps, otherwise day by day, of the days that have entries. */
async function* slices(
  store: AuditStore,
  { actorId, resource }: AuditFilter,
  { from, before }: { readonly from: Position; readonly before: Position },
  size: number,
): AsyncGenerator<Slice> {
  const source = actorId != null ? { actorId } : resource != null ? { resource } : null;
  const sources = source ? [source] : (await store.days(dayOf(from), dayOf(before))).map((day) => ({ day }));
  let left = SLICES_MAX;
  for (const [index, each] of sources.entries()) {
    let position: Position | null = before;
    while (position !== null) {
      const { entries, next }: Slice = await store.slice(each, { from, before: position }, Math.min(size, 100));
      left--;
      const follower = sources[index + 1];
      // Behind a day comes the end of the next one that has entries.
      const dayBehind = follower && 'day' in follower ? isoTime(dayStart(follower.day) + DAY_MS) : null;
      yield { entries, next: next ?? dayBehind };
      if (left === 0) return;
      position = next;
    }
  }
}
