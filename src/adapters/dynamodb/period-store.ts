import { gunzipSync, gzipSync } from 'node:zlib';
import type { Clock } from '../../kernel/clock.ts';
import { periodName, type PeriodKind } from '../../usage/periods.ts';
import type { BaseTally, DueHours, PeriodHead, UsageRetention, UsageStore } from '../../usage/ports.ts';
import type { TenantRows } from './conversation-store.ts';
import { dueRows } from './due-index.ts';
import { absent, anyOf, equals, present } from './expressions.ts';
import { dueRowAt, parseDueHour, type Key } from './keys.ts';
import { keptUntil, type Item, type Table } from './table.ts';

/** A row holds at most 400 KB. */
const CHUNK_BYTES = 300 * 1024;

interface HeadRow extends Item {
  readonly SK: string;
  /** How many closings have begun, and how many events came after the period. */
  readonly gen?: number;
  readonly late?: number;
  /** What the sums below knew of both. */
  readonly closedGen?: number;
  readonly closedLate?: number;
  readonly tally?: Uint8Array;
}

interface PartRow extends Item {
  readonly SK: string;
  readonly chunk: Uint8Array;
}

/** Counters shrink to a tenth. */
const pack = (value: unknown): Uint8Array => gzipSync(JSON.stringify(value));
const unpack = (bytes: Uint8Array): unknown => JSON.parse(gunzipSync(bytes).toString());

const nameOf = ({ SK }: { readonly SK: string }): string => SK.split('#')[1] ?? '';

function headOf(row: HeadRow): PeriodHead {
  const { closedGen, closedLate, late = 0, tally } = row;
  const isClosed = closedGen !== undefined && closedLate === late && tally !== undefined;
  return {
    name: nameOf(row),
    closed: isClosed ? { generation: closedGen, tally: unpack(tally) as BaseTally } : null,
  };
}

/** The sums of one tenant's hours and days: a head for each, and beside it what is read on its own. */
export function createPeriodStore(
  { table, keys }: TenantRows,
  { clock, kept }: { readonly clock: Clock; readonly kept: UsageRetention },
): Omit<UsageStore, 'record' | 'turn' | 'events' | 'ordered'> {
  const until = (kind: PeriodKind, name: string) => keptUntil(kept.sumsUntil(kind, name));

  async function partRows(part: string, kind: PeriodKind, from: string, to: string): Promise<PartRow[]> {
    const rows: PartRow[] = [];
    for await (const row of table.rows<PartRow>(keys.usageParts(part, kind, from, to))) rows.push(row);
    return rows;
  }

  const generationOf = ({ SK }: PartRow): number => Number(SK.split('#')[2]);

  return {
    canClose: (kind, name) => clock.now() < kept.closableUntil(kind, name),

    async heads(kind, { start, end }) {
      const heads: PeriodHead[] = [];
      const query = keys.usagePeriods(kind, periodName(kind, start), periodName(kind, end - 1));
      for await (const row of table.rows<HeadRow>(query)) heads.push(headOf(row));
      return heads;
    },

    async beginClosing(kind, name) {
      const result = await table.update<HeadRow>(keys.usagePeriod(kind, name), {
        set: until(kind, name),
        add: { gen: 1 },
      });
      const { gen = 0, late = 0 } = (result.done ? result.item : result.current) ?? {};
      return { generation: gen, late };
    },

    async writePart(kind, name, generation, part, value) {
      const bytes = pack(value);
      for (let index = 0; index * CHUNK_BYTES < bytes.length; index++) {
        const chunk = bytes.subarray(index * CHUNK_BYTES, (index + 1) * CHUNK_BYTES);
        await table.put(keys.usagePart(part, kind, name, generation, index), { chunk, ...until(kind, name) });
      }
    },

    async finishClosing(kind, name, { generation, late }, { tally, dueAt }) {
      const key = keys.usagePeriod(kind, name);
      const due = dueAt === null ? {} : dueRowAt(dueAt, key);
      const result = await table.update(
        key,
        {
          set: { tally: pack(tally), closedGen: generation, closedLate: late, ...due },
          remove: dueAt === null ? ['duePK', 'dueSK'] : [],
        },
        equals('gen', generation),
        late === 0 ? anyOf(absent('late'), equals('late', 0)) : equals('late', late),
      );
      return result.done;
    },

    async closeNoMore(kind, name) {
      await table.update(keys.usagePeriod(kind, name), { remove: ['duePK', 'dueSK'] }, present('duePK'));
    },

    async dropOldParts(kind, name, generation) {
      const parts = await Promise.all(['MINUTES', 'USERS'].map((part) => partRows(part, kind, name, name)));
      // The one before stays: whoever has just read its head is about to read its parts.
      const old = parts.flat().filter((row) => generationOf(row) < generation - 1);
      await table.removeMany(old as unknown as Key[]);
    },

    async *readParts(kind, part, generations) {
      const names = [...generations.keys()].sort();
      const [first, last] = [names[0], names.at(-1)];
      if (first === undefined || last === undefined) return;
      let read = 0;
      let chunks: PartRow[] = [];
      const value = () => {
        read++;
        return [
          nameOf(chunks[0] ?? { SK: '' }),
          unpack(Buffer.concat(chunks.map(({ chunk }) => chunk))) as never,
        ] as const;
      };
      // In the order of their names, and the chunks of each in theirs.
      for await (const row of table.rows<PartRow>(keys.usageParts(part, kind, first, last))) {
        if (generations.get(nameOf(row)) !== generationOf(row)) continue;
        const before = chunks[0];
        if (before && nameOf(before) !== nameOf(row)) {
          yield value();
          chunks = [];
        }
        chunks.push(row);
      }
      if (chunks.length > 0) yield value();
      if (read < names.length) throw new Error(`Some ${part} of closed periods from ${first} to ${last} are missing.`);
    },
  };
}

export const createDueHours = (table: Table): DueHours => ({
  async due(now) {
    return (await dueRows(table, now)).flatMap((row) => parseDueHour(row) ?? []);
  },
});
