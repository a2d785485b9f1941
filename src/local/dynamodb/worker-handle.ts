import { Worker } from 'node:worker_threads';
import { systemClock } from '../../kernel/clock.ts';
import type { RepairReport } from './index-repair.ts';
import { probe } from './probe.ts';
import type { FromWorker, ToWorker, WorkerSettings } from './worker-protocol.ts';

/** How long a closing worker may take before it is ended by force; it bounds its own waits well below this. */
const CLOSE_MS = 20_000;

/** A running engine in a thread of its own. */
export interface StoreWorker {
  port: number;
  repaired: RepairReport | null;
  /** Settles when the thread is gone and its files are closed: undefined after `close()`, else why it died. */
  exited: Promise<Error | undefined>;
  /** How many LevelDB iterators are open; at rest it is 0, and a number that grows is a leak. */
  openIterators(): Promise<number>;
  /** Answers what is under way, closes the store and ends the thread; rejects if the thread died or had to be ended instead. */
  close(): Promise<void>;
}

export const WORKER_URL = new URL('./worker.ts', import.meta.url);

/**
 * Starts the engine and resolves once it answers; on any failure before that the thread is ended and it rejects.
 *
 * The thread sees no environment (dynalite takes its region from there) and none of the parent's node options.
 */
export const startStoreWorker = async (settings: WorkerSettings, url: URL = WORKER_URL): Promise<StoreWorker> => {
  const worker = new Worker(url, { workerData: settings, env: {}, execArgv: [], name: 'dynamodb' });
  const exited = exitOf(worker);
  const died = exited.then((error) => Promise.reject(error ?? new Error('the DynamoDB worker ended')));
  died.catch(() => undefined); // only some of the waits below look at it
  const heard = <T extends FromWorker['type']>(type: T) => Promise.race([message(worker, type), died]);
  const tell = (text: ToWorker) => worker.postMessage(text);
  try {
    const ready = await heard('ready');
    await Promise.race([probe(settings.host, ready.port), died]);
    return {
      port: ready.port,
      repaired: ready.repaired,
      exited,
      openIterators() {
        const answer = heard('iterators').then(({ open }) => open);
        tell('count-iterators');
        return answer;
      },
      async close() {
        tell('close');
        const cancel = systemClock.after(CLOSE_MS, () => void worker.terminate());
        const error = await exited;
        cancel();
        if (error) throw error;
      },
    };
  } catch (error) {
    await worker.terminate();
    throw error;
  }
};

/** 'exit' comes after the thread has closed LevelDB, so only then may another thread open the same files. */
const exitOf = (worker: Worker): Promise<Error | undefined> =>
  new Promise((resolve) => {
    let closed = false;
    let failure: Error | undefined;
    worker.on('message', (said: FromWorker) => (closed ||= said.type === 'closed'));
    worker.on('error', (error) => (failure = error instanceof Error ? error : new Error(String(error))));
    worker.on('exit', (code) => {
      if (closed) resolve(undefined);
      else resolve(failure ?? new Error(`the DynamoDB worker ended with code ${code}`));
    });
  });

const message = <T extends FromWorker['type']>(worker: Worker, type: T): Promise<Extract<FromWorker, { type: T }>> =>
  new Promise((resolve) => {
    const listen = (said: FromWorker) => {
      if (said.type !== type) return;
      worker.off('message', listen);
      resolve(said as Extract<FromWorker, { type: T }>);
    };
    worker.on('message', listen);
  });
