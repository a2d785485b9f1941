import type { TenantRows } from './conversation-store.ts';
import type { Item } from './table.ts';

/** Up to this many UTF-8 bytes the content stands in the message's own row, so that a page of 20 is one read of less than 1 MB. */
export const INLINE_BYTES_MAX = 32 * 1024;
/** A row holds at most 400 KB in DynamoDB; the engine counts otherwise, so bytes are counted here. */
const CHUNK_BYTES = 300 * 1024;

interface ContentRow extends Item {
  readonly conversationId: string;
  readonly sequence: number;
  readonly content: string;
  readonly chunks?: number;
}

interface Place {
  readonly conversationId: string;
  readonly sequence: number;
}

/** Splits at byte counts; a character that is cut in two is whole again once the chunks are joined as bytes. */
const split = (bytes: Buffer): Uint8Array[] =>
  Array.from({ length: Math.ceil(bytes.length / CHUNK_BYTES) }, (_, index) =>
    bytes.subarray(index * CHUNK_BYTES, (index + 1) * CHUNK_BYTES),
  );

/** Large contents, in rows of their own beside the message. */
export function createContentStore({ table, keys }: TenantRows) {
  return {
    /** Stores what does not fit, before the row that refers to it, and returns what that row has to hold. */
    async store({ conversationId, sequence }: Place, content: string): Promise<{ content: string; chunks?: number }> {
      if (Buffer.byteLength(content) <= INLINE_BYTES_MAX) return { content, chunks: 0 };
      const chunks = split(Buffer.from(content));
      await Promise.all(
        chunks.map((bytes, index) => table.put(keys.contentChunk(conversationId, sequence, index + 1), { bytes })),
      );
      return { content: '', chunks: chunks.length };
    },

    /** The rows with their contents; all that stand apart are read together. */
    async fill<R extends ContentRow>(rows: readonly (R | null)[]): Promise<readonly (R | null)[]> {
      const wanted = rows.flatMap((row) => (row ? chunkKeys(row) : []));
      if (wanted.length === 0) return rows;
      const found = await table.getMany<{ bytes: Uint8Array }>(wanted);
      let next = 0;
      return rows.map((row) => {
        if (!row?.chunks) return row;
        const chunks = found.slice(next, (next += row.chunks));
        return { ...row, content: Buffer.concat(chunks.map((chunk) => chunk?.bytes ?? new Uint8Array())).toString() };
      });
    },
  };

  function chunkKeys({ conversationId, sequence, chunks = 0 }: ContentRow) {
    return Array.from({ length: chunks }, (_, index) => keys.contentChunk(conversationId, sequence, index + 1));
  }
}
