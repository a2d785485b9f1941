import { isDeepStrictEqual } from 'node:util';
import dynaliteDb from 'dynalite/db/index.js';
import type { Batched, Index, Item, KeyRange, Level, Operation, Store, Table } from 'dynalite/db/index.js';

/** What a repair changed; all zero when the indexes already agreed with their tables. */
export interface RepairReport {
  /** Index entries of an item that is not there, or has other keys by now: removed. */
  ghosts: number;
  /** Items without the entry they should have: entered. */
  missing: number;
  /** Entries whose projected attributes differ from the item: rewritten. */
  outdated: number;
  /** Tables caught half way through being created, changed (now active) or deleted (now gone). */
  tables: number;
}

const BATCH = 256;
const rangeOf = (prefix: string): KeyRange => ({ gte: prefix, lt: `${prefix}\xff` });

/**
 * Makes every index agree with its table after an engine died between two writes of one request.
 *
 * dynalite removes old index entries, writes new ones and only then the item, each in a write of its own, so a dead
 * engine leaves ghosts, holes and too-new entries. The items are the truth, as a write is acknowledged only after the
 * item is stored; they are read and never written. That is why this works on the store itself before it is served:
 * through the API a ghost can only be removed by putting an item over the true one for a moment, and dying in that
 * moment would lose an acknowledged write. Every step may be repeated, so dying here is harmless too.
 */
export const repairIndexes = async (store: Store): Promise<RepairReport> => {
  const report: RepairReport = { ghosts: 0, missing: 0, outdated: 0, tables: 0 };
  for (const table of await tablesOf(store.db)) {
    if (table.TableStatus === 'DELETING') {
      await finishDeleting(store.db, table.TableName);
      report.tables++;
      continue;
    }
    if (await activate(store.db, table)) report.tables++;
    for (const { index, prefix } of indexesOf(table)) {
      await checkEntries({ db: store.db, table, index, prefix, report });
      await checkItems({ db: store.db, table, index, prefix, report });
    }
  }
  return report;
};

interface Check {
  db: Level;
  table: Table;
  index: Index;
  prefix: string;
  report: RepairReport;
}

/** Removes entries that no item accounts for and rewrites those that differ from their item. */
const checkEntries = async ({ db, table, index, prefix, report }: Check): Promise<void> => {
  for await (const entries of batches(db.iterator(rangeOf(prefix)))) {
    const known = entries.map(([key, value]) => ({ key: key.slice(prefix.length), entry: value as Item }));
    const items = await db.getMany(known.map(({ entry }) => itemKey(entry, table)));
    const changes: Operation[] = [];
    for (const [at, { key, entry }] of known.entries()) {
      const expected = expectedEntry(items[at] as Item | undefined, index, table);
      if (expected?.key !== key) {
        changes.push({ type: 'del', key: prefix + key });
        report.ghosts++;
      } else if (!isDeepStrictEqual(expected.entry, entry)) {
        changes.push({ type: 'put', key: prefix + key, value: expected.entry });
        report.outdated++;
      }
    }
    if (changes.length > 0) await db.batch(changes);
  }
};

/**
 * Enters items that the index lacks. Runs after `checkEntries`, whose removals may bare such a hole.
 * A key held by another item is left alone: dynalite tells equal index keys apart by 24 bits only, and two items
 * that collide there share one entry whatever is done.
 */
const checkItems = async ({ db, table, index, prefix, report }: Check): Promise<void> => {
  for await (const items of batches(db.values(rangeOf(`item-${table.TableName}~`)))) {
    const expected = items.flatMap((item) => expectedEntry(item as Item, index, table) ?? []);
    const present = await db.getMany(expected.map(({ key }) => prefix + key));
    const holes = expected.filter((_entry, at) => present[at] === undefined);
    if (holes.length === 0) continue;
    await db.batch(holes.map(({ key, entry }) => ({ type: 'put', key: prefix + key, value: entry })));
    report.missing += holes.length;
  }
};

const expectedEntry = (
  item: Item | undefined,
  index: Index,
  table: Table,
): { key: string; entry: Item } | undefined => {
  if (item === undefined) return undefined;
  const put = dynaliteDb.getIndexActions([index], null, item, table).puts[0];
  // As it would read back from the store: absent projected attributes are `undefined` until written as JSON.
  return put && { key: put.key, entry: JSON.parse(JSON.stringify(put.item)) as Item };
};

const itemKey = (item: Item, table: Table): string => `item-${table.TableName}~${dynaliteDb.createKey(item, table)}`;

const indexesOf = (table: Table): { index: Index; prefix: string }[] => [
  ...(table.GlobalSecondaryIndexes ?? []).map((index) => ({
    index,
    prefix: `index-global~${table.TableName}~${index.IndexName}~`,
  })),
  ...(table.LocalSecondaryIndexes ?? []).map((index) => ({
    index,
    prefix: `index-local~${table.TableName}~${index.IndexName}~`,
  })),
];

const tablesOf = async (db: Level): Promise<Table[]> => {
  const tables: Table[] = [];
  for await (const batch of batches(db.values(rangeOf('table~')))) tables.push(...(batch as Table[]));
  return tables;
};

/** CreateTable answers before the table is marked active, and nothing would mark it later. */
const activate = async (db: Level, table: Table): Promise<boolean> => {
  if (table.TableStatus === 'ACTIVE') return false;
  table.TableStatus = 'ACTIVE';
  for (const index of table.GlobalSecondaryIndexes ?? []) index.IndexStatus = 'ACTIVE';
  await db.put(`table~${table.TableName}`, table);
  return true;
};

/** The table's own row goes last, so that a deletion cut short again is found again. */
const finishDeleting = async (db: Level, name: string): Promise<void> => {
  const prefixes = [`item-${name}~`, `index-global~${name}~`, `index-local~${name}~`, `tag-${name}~`];
  for (const prefix of prefixes) await db.clear(rangeOf(prefix));
  await db.batch([{ type: 'del', key: `table~${name}` }]);
};

async function* batches<T>(iterator: Batched<T>): AsyncGenerator<T[]> {
  try {
    for (let batch = await iterator.nextv(BATCH); batch.length > 0; batch = await iterator.nextv(BATCH)) yield batch;
  } finally {
    await iterator.close();
  }
}
