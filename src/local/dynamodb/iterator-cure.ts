import { Readable, Transform } from 'node:stream';
import type { Batched, Store } from 'dynalite/db/index.js';

const BATCH_FIRST = 16;
const BATCH_MAX = 256;
const TABLE_PREFIX = 'table~';

/**
 * Makes every read of `store` close its LevelDB iterator.
 *
 * dynalite 4.0.0 closes them with `iterator.return`, which abstract-level does not have, so each Query and Scan
 * leaks one together with its native memory. Reading in growing batches instead of key by key also saves a trip to
 * the LevelDB thread per row, without reading hundreds of rows for a query that wants one.
 *
 * ListTables further reads only the table names; dynalite reads every key in the store.
 */
export const closeIterators = (store: Store): void => {
  const { db, tableDb } = store;
  db.createKeyStream = (range) => streamOf(db.keys(range));
  db.createValueStream = (range) => streamOf(db.values(range));
  tableDb.createKeyStream = () => {
    const names = new Transform({
      objectMode: true,
      transform: (key: string, _encoding, done) => done(null, key.slice(TABLE_PREFIX.length)),
    });
    return db.createKeyStream({ gte: TABLE_PREFIX, lt: `${TABLE_PREFIX}\xff` }).pipe(names);
  };
};

const streamOf = (iterator: Batched<unknown>): Readable => {
  let size = BATCH_FIRST;
  return new Readable({
    objectMode: true,
    highWaterMark: 64,
    read() {
      iterator.nextv(size).then(
        (entries) => {
          size = Math.min(size * 2, BATCH_MAX);
          for (const entry of entries) this.push(entry);
          if (entries.length === 0) this.push(null);
        },
        (error: Error) => this.destroy(error),
      );
    },
    destroy(error, done) {
      iterator.close().then(
        () => done(error),
        () => done(error),
      );
    },
  });
};
