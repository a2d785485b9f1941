import type { AuditSpool, SpoolSegment } from './ports.ts';

/** A segment without a file: what waits in it is gone with the process. */
export function createMemorySegment(): SpoolSegment {
  const kept: { readonly start: number; readonly line: string }[] = [];
  let bytes = 0;
  return {
    bytes: () => bytes,
    durable: false,
    append(lines) {
      for (const line of lines) {
        kept.push({ start: bytes, line });
        bytes += Buffer.byteLength(line);
      }
      return Promise.resolve();
    },
    read(from) {
      const lines = kept.filter(({ start }) => start >= from).map(({ line }) => line);
      return Promise.resolve({ lines, next: bytes });
    },
    remove: () => Promise.resolve(),
  };
}

/** Where there is no folder: a process that is killed loses what it has not delivered. */
export const memorySpool: AuditSpool = {
  open: () => Promise.resolve(createMemorySegment()),
  adopt: () => Promise.resolve([]),
  close: () => Promise.resolve(),
};
