import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { parentPort, workerData } from 'node:worker_threads';
import type { Store } from 'dynalite/db/index.js';
import { systemClock } from '../../kernel/clock.ts';
import { repairIndexes } from './index-repair.ts';
import { closeIterators } from './iterator-cure.ts';
import { guardRequests } from './request-guard.ts';
import { createStore, createStoreServer } from './store.ts';
import type { FromWorker, ToWorker, WorkerSettings } from './worker-protocol.ts';

/** How long a closing engine waits for requests that are still arriving or being answered. */
const DRAIN_MS = 5000;

const say = (message: FromWorker): void => parentPort?.postMessage(message);

/** Any failure here ends the worker, and its 'error' event tells the supervisor why. */
const run = async (settings: WorkerSettings): Promise<void> => {
  const store = createStore(settings.storePath);
  const iterators = countIterators(store);
  await open(store, settings.storePath);
  const repaired = settings.repair ? await repairIndexes(store) : null;
  closeIterators(store);
  const server = createStoreServer(store);
  guardRequests(server);
  const port = await listen(server, settings);
  parentPort?.on('message', (message: ToWorker) => {
    if (message === 'count-iterators') say({ type: 'iterators', open: iterators.open() });
    else void close(server);
  });
  say({ type: 'ready', port, repaired });
};

/** dynalite would listen first and meet the failure at its first request. */
const open = async (store: Store, path: string | undefined): Promise<void> => {
  try {
    await store.db.open();
  } catch (error) {
    const reason = (error as Error).cause ?? error;
    throw new Error(`cannot open the store in ${path ?? 'memory'}: ${(reason as Error).message}`, { cause: error });
  }
};

const listen = (server: Server, { host, port }: WorkerSettings): Promise<number> =>
  new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, () => {
      server.off('error', reject);
      resolve((server.address() as AddressInfo).port);
    });
  });

const close = async (server: Server): Promise<void> => {
  systemClock.after(DRAIN_MS, () => server.closeAllConnections());
  // Waits for the answers under way, then for the store's pending writes, then closes LevelDB.
  await new Promise<void>((resolve, reject) => server.close((error) => (error ? reject(error) : resolve())));
  say({ type: 'closed' });
  parentPort?.close();
};

/** Every iterator attaches itself to its database when made and detaches when closed. */
const countIterators = ({ db }: Store): { open(): number } => {
  const attached = new Set<object>();
  const attach = db.attachResource.bind(db);
  const detach = db.detachResource.bind(db);
  db.attachResource = (resource) => {
    attached.add(resource);
    attach(resource);
  };
  db.detachResource = (resource) => {
    attached.delete(resource);
    detach(resource);
  };
  return { open: () => attached.size };
};

await run(workerData as WorkerSettings);
