import { mkdir, open, readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { AuditSpool, SpoolSegment } from '../../audit/ports.ts';
import { every } from '../../kernel/repeating.ts';
import type { Clock } from '../../kernel/clock.ts';
import { acquireFileLock, LockHeldError, type FileLock } from '../../kernel/file-lock.ts';

const READ_BYTES = 262_144;
/** How often what was written is forced onto the disk: what a power cut can take. A killed process takes nothing. */
const SYNC_EVERY_MS = 1_000;
const LOCK = 'lock';
const SEGMENT = /^\d{8}\.jsonl$/;

/**
 * A spool in a folder: each process has a folder of its own in it, which it holds by a lock, and takes over those whose process is
 * gone. Only the owner reads it: the entries name users and addresses.
 */
export async function openAuditSpool(root: string, writer: string, clock: Clock): Promise<AuditSpool> {
  const folder = join(root, writer);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const locks = new Map<string, FileLock>([[folder, acquireFileLock(join(folder, LOCK))]]);
  const opened = new Set<OpenSegment>();
  let count = 0;

  async function openSegment(path: string, removed: () => Promise<void>): Promise<SpoolSegment> {
    const segment = await openFile(path, clock, () => {
      opened.delete(segment);
      return removed();
    });
    opened.add(segment);
    return segment;
  }

  /** Gives up a folder in which nothing is left. */
  async function release(path: string) {
    const names = await readdir(path);
    const lock = locks.get(path);
    locks.delete(path);
    if (names.some((name) => SEGMENT.test(name))) lock?.release();
    else await rm(path, { recursive: true, force: true });
  }

  async function adoptFolder(path: string): Promise<SpoolSegment[]> {
    try {
      locks.set(path, acquireFileLock(join(path, LOCK)));
    } catch (error) {
      if (error instanceof LockHeldError || (error as NodeJS.ErrnoException).code === 'ENOENT') return [];
      throw error;
    }
    const names = (await readdir(path)).filter((name) => SEGMENT.test(name)).sort();
    if (names.length === 0) await release(path);
    let left = names.length;
    const removed = async () => {
      left--;
      if (left === 0) await release(path);
    };
    return Promise.all(names.map((name) => openSegment(join(path, name), removed)));
  }

  return {
    open: () => openSegment(join(folder, `${String(++count).padStart(8, '0')}.jsonl`), () => Promise.resolve()),
    async adopt() {
      const entries = await readdir(root, { withFileTypes: true });
      const folders = entries.filter((entry) => entry.isDirectory()).map(({ name }) => join(root, name));
      const others = folders.filter((path) => !locks.has(path));
      return (await Promise.all(others.map(adoptFolder))).flat();
    },
    async close() {
      await Promise.all([...opened].map((segment) => segment.close()));
      for (const path of [...locks.keys()]) await release(path);
    },
  };
}

type OpenSegment = SpoolSegment & { readonly close: () => Promise<void> };

async function openFile(path: string, clock: Clock, removed: () => Promise<void>): Promise<OpenSegment> {
  const file = await open(path, 'a+', 0o600);
  let bytes = (await stat(path)).size;
  let synced = bytes;
  const stopSyncing = every(clock, SYNC_EVERY_MS, () => {
    if (synced === bytes) return;
    synced = bytes;
    file.datasync().catch(() => (synced = -1)); // tried again; what cannot be written is found out by `append`
  });
  async function close() {
    stopSyncing();
    await file.close();
  }

  return {
    bytes: () => bytes,
    durable: true,
    async append(lines) {
      const text = Buffer.from(lines.join(''));
      await file.appendFile(text);
      bytes += text.length;
    },
    async read(from) {
      const buffer = Buffer.alloc(Math.min(READ_BYTES, bytes - from));
      const { bytesRead } = await file.read(buffer, 0, buffer.length, from);
      const whole = buffer.subarray(0, bytesRead).lastIndexOf('\n') + 1;
      const lines = buffer.toString('utf8', 0, whole).split('\n').slice(0, -1);
      return { lines, next: from + whole };
    },
    close,
    async remove() {
      await close();
      await rm(path, { force: true });
      await removed();
    },
  };
}
