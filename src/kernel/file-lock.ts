import { randomUUID } from 'node:crypto';
import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { isRunning, ownIdentity } from './process-identity.ts';
import type { ProcessIdentity } from './process-identity.ts';

/** A lock held by this process. */
export interface FileLock {
  /** The dead process it was taken over from, if any. */
  takenOverFrom: number | null;
  /** Gives the lock up; does nothing when another process has taken it meanwhile. */
  release(): void;
}

/** The lock is held by a living process. */
export class LockHeldError extends Error {
  readonly pid: number;

  constructor(path: string, pid: number) {
    super(`${path} is held by process ${pid}`);
    this.name = 'LockHeldError';
    this.pid = pid;
  }
}

type Owner = ProcessIdentity & { token: string };

/**
 * Takes the lock file at `path`, or throws `LockHeldError` at once; of any number of contenders one gets it.
 *
 * The file appears by `link`, which fails when it exists (as O_EXCL does) and shows it complete or not at all, so
 * nobody reads a half-written owner. Replacing a dead owner's lock is itself done under a lock, `<path>.takeover`:
 * without it two contenders could both judge it dead, and the slower would remove the lock of the faster.
 */
export const acquireFileLock = (path: string): FileLock => {
  const own: Owner = { ...ownIdentity(), token: randomUUID() };
  const draft = `${path}.${own.token}`;
  writeFileSync(draft, JSON.stringify(own));
  try {
    for (;;) {
      if (createFrom(draft, path)) return lockOf(path, own, null);
      const holder = readOwner(path);
      if (holder === undefined) continue; // released between the two looks
      if (isRunning(holder)) throw new LockHeldError(path, holder.pid);
      if (replaceDead(path, holder, draft)) return lockOf(path, own, holder.pid === PID_NONE ? null : holder.pid);
    }
  } finally {
    rmSync(draft, { force: true });
  }
};

/** False when the dead owner's lock is no longer there, because somebody else was faster. */
const replaceDead = (path: string, dead: Owner, draft: string): boolean => {
  const takeover = acquireFileLock(`${path}.takeover`);
  try {
    // Only the holder of the takeover lock replaces a dead owner, so what is read here cannot change before the rename.
    if (readOwner(path)?.token !== dead.token) return false;
    renameSync(draft, path);
    return true;
  } finally {
    takeover.release();
  }
};

const lockOf = (path: string, own: Owner, takenOverFrom: number | null): FileLock => ({
  takenOverFrom,
  release() {
    if (readOwner(path)?.token === own.token) rmSync(path, { force: true });
  },
});

const createFrom = (draft: string, path: string): boolean => {
  try {
    linkSync(draft, path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
};

/** A file that is no lock of ours (edited by hand, cut short by a full disk) counts as a dead owner's. */
const readOwner = (path: string): Owner | undefined => {
  let text;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  try {
    const { pid, startedAt, token } = JSON.parse(text) as Partial<Owner>;
    if (typeof pid === 'number' && pid > 0 && token) return { pid, startedAt: startedAt ?? null, token };
  } catch {
    // falls through to the dead owner below
  }
  return { pid: PID_NONE, startedAt: null, token: text };
};

/** Above every system's largest pid. */
const PID_NONE = 2 ** 31 - 1;
