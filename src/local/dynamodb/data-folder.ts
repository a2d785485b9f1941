import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { acquireFileLock, LockHeldError } from '../../kernel/file-lock.ts';

/** A folder that belongs to this process until `release`. */
export interface DataFolder {
  /** Where LevelDB keeps its files. */
  storePath: string;
  /** The last engine on this folder did not close, so its indexes may disagree with its tables. */
  unclean: boolean;
  /** The dead process the folder was taken over from, if any. */
  takenOverFrom: number | null;
  /** Lets the folder go; `clean` says that the store was closed in good order and needs no repair. */
  release(clean: boolean): void;
}

/**
 * Claims `dataDir`, creating it when absent.
 *
 * The lock says who may use the folder; the file `engine.running` says whether the last user closed it. They are two
 * files because a start that fails (a busy port) gives up its lock without having repaired anything.
 *
 * @throws an Error naming the folder and the pid when a living process has it; its files are then untouched.
 */
export const claimDataFolder = (dataDir: string): DataFolder => {
  const folder = resolve(dataDir);
  mkdirSync(folder, { recursive: true });
  const lock = lockOn(folder);
  const running = join(folder, 'engine.running');
  const unclean = existsSync(running);
  writeFileSync(running, '');
  return {
    storePath: join(folder, 'leveldb'),
    unclean,
    takenOverFrom: lock.takenOverFrom,
    release(clean) {
      if (clean) rmSync(running, { force: true });
      lock.release();
    },
  };
};

const lockOn = (folder: string) => {
  try {
    return acquireFileLock(join(folder, 'engine.lock'));
  } catch (cause) {
    if (!(cause instanceof LockHeldError)) throw cause;
    const whose = cause.pid === process.pid ? 'this process' : 'another process';
    throw new Error(`the data folder ${folder} is in use by ${whose} (pid ${cause.pid})`, { cause });
  }
};
