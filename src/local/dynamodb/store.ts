import type { Server } from 'node:http';
import dynalite from 'dynalite';
import dynaliteDb from 'dynalite/db/index.js';
import type { Store, StoreOptions } from 'dynalite/db/index.js';

/** Tables change state at once: a wait of half a second per table would only slow every start and test. */
const TIMES: StoreOptions = { createTableMs: 0, deleteTableMs: 0, updateTableMs: 0 };

/** A dynalite store on the files in `path`, or in memory without one. Its files are opened by `store.db.open()`. */
export const createStore = (path?: string): Store =>
  dynaliteDb.create(path === undefined ? { ...TIMES } : { ...TIMES, path });

/**
 * An HTTP server speaking DynamoDB on `store`; closing it closes the store too.
 *
 * dynalite makes its own store and keeps it to itself. Ours has been opened, cured and repaired by then, so its
 * factory hands that one out for the length of this one synchronous call.
 */
export const createStoreServer = (store: Store): Server => {
  const create = dynaliteDb.create.bind(dynaliteDb);
  dynaliteDb.create = () => store;
  try {
    return dynalite({ ...TIMES });
  } finally {
    dynaliteDb.create = create;
  }
};
