import { isoTime } from '../../kernel/clock.ts';
import { duePartitions, type Key } from './keys.ts';
import type { Item, Table } from './table.ts';

/** Rows of one partition of the due index that one round takes up. */
const ROWS_MAX = 100;

/** The keys of what is due in a table by a time, whosever it is; of each partition what has been due longest. */
export async function dueRows(table: Table, now: number): Promise<Key[]> {
  const partitions = duePartitions().map((PK) =>
    table.take<Item & Key>({ index: 'due', PK, before: isoTime(now), limit: ROWS_MAX }, ROWS_MAX),
  );
  return (await Promise.all(partitions)).flat();
}
