import { systemClock } from '../../kernel/clock.ts';
import type { Clock } from '../../kernel/clock.ts';
import { claimDataFolder } from './data-folder.ts';
import type { DataFolder } from './data-folder.ts';
import type { RepairReport } from './index-repair.ts';
import { supervise } from './supervisor.ts';
import type { Supervisor } from './supervisor.ts';
import { startStoreWorker, WORKER_URL } from './worker-handle.ts';
import type { StoreWorker } from './worker-handle.ts';
import { startTimeToLive } from './time-to-live.ts';

export type { RepairReport } from './index-repair.ts';

export type LocalDynamoDbEvent =
  /** The last process on the folder died and left its lock; it is ours now. */
  | { type: 'lock-taken-over'; pid: number }
  /** After an unclean end the indexes were compared with their tables; the counts may all be 0. */
  | ({ type: 'repaired' } & RepairReport)
  /** The worker died; it is restarted unless 'gave-up' follows. */
  | { type: 'crashed'; error: Error }
  /** It answers again at the same endpoint. `dataLost`: it was in memory, so tables and items are gone. */
  | { type: 'restarted'; dataLost: boolean }
  /** It died too often to go on; the endpoint stays dead until the process starts the engine anew. */
  | { type: 'gave-up'; crashes: number; error: Error };

export interface LocalDynamoDbOptions {
  /** Where the data lives, created when absent. Without it everything is in memory and gone at close. */
  dataDir?: string;
  /** Default 127.0.0.1. The engine checks no signatures: whoever can reach it can read and write everything. */
  host?: string;
  /** Default 0, any free port. */
  port?: number;
  onEvent?: (event: LocalDynamoDbEvent) => void;
  clock?: Clock;
  /** The worker's entry file; tests hand in one that can be made to die. */
  workerUrl?: URL;
}

export interface LocalDynamoDb {
  /** `http://host:port`; it stays the same through restarts of the worker. */
  endpoint: string;
  /** Answers what is under way, closes the files and gives the folder up. May be called twice. */
  close(): Promise<void>;
}

/**
 * Starts a DynamoDB engine in this process and resolves once it answers requests. Items whose `ttl` is over are deleted, as time to live does.
 *
 * With a `dataDir` no acknowledged write is lost when the engine or the whole process is killed (the writes are with
 * the operating system then; a power failure may take the last of them). The worker thread keeps a fault in the
 * engine from ending the process: it is restarted on the same files and port. Meanwhile, for some tenths of a second,
 * connections are refused, which is longer than the AWS SDK's default retries last.
 *
 * @throws an Error naming the folder and the pid when another engine has `dataDir`; its files are not touched.
 */
export const startLocalDynamoDb = async (options: LocalDynamoDbOptions = {}): Promise<LocalDynamoDb> => {
  const { dataDir, host = '127.0.0.1', clock = systemClock, onEvent = () => undefined } = options;
  const folder = dataDir === undefined ? undefined : claimDataFolder(dataDir);
  const start = async (port: number, repair: boolean): Promise<StoreWorker> => {
    const place = folder ? { storePath: folder.storePath } : {};
    const worker = await startStoreWorker({ ...place, host, port, repair }, options.workerUrl ?? WORKER_URL);
    if (worker.repaired) onEvent({ type: 'repaired', ...worker.repaired });
    return worker;
  };
  try {
    if (folder?.takenOverFrom) onEvent({ type: 'lock-taken-over', pid: folder.takenOverFrom });
    const first = await start(options.port ?? 0, folder?.unclean ?? false);
    const supervisor = supervise(first, () => start(first.port, folder !== undefined), clock, {
      onCrash: (error) => onEvent({ type: 'crashed', error }),
      onRestart: () => onEvent({ type: 'restarted', dataLost: folder === undefined }),
      onGiveUp: (crashes, error) => onEvent({ type: 'gave-up', crashes, error }),
    });
    const stopDeleting = startTimeToLive(host, first.port, clock);
    return { endpoint: endpointOf(host, first.port), close: closeOnce({ supervisor, folder, stopDeleting }) };
  } catch (error) {
    folder?.release(false);
    throw error;
  }
};

interface Running {
  readonly supervisor: Supervisor;
  readonly folder: DataFolder | undefined;
  readonly stopDeleting: () => Promise<void>;
}

const closeOnce = ({ supervisor, folder, stopDeleting }: Running): (() => Promise<void>) => {
  let closing: Promise<void> | undefined;
  return () =>
    (closing ??= stopDeleting()
      .then(() => supervisor.stop())
      .then((clean) => folder?.release(clean)));
};

const endpointOf = (host: string, port: number): string => `http://${host.includes(':') ? `[${host}]` : host}:${port}`;
