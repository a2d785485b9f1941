import type { Citation } from '../../conversations/model.ts';
import { ulid } from '../../kernel/ids.ts';
import type { Clock } from '../../kernel/clock.ts';
import type { TenantRows } from './conversation-store.ts';
import type { Key, Place } from './keys.ts';
import type { Item } from './table.ts';

/** Up to this many UTF-8 bytes the content stands in the message's own row, so that a page of 20 is one read of less than 1 MB. */
export const INLINE_BYTES_MAX = 32 * 1024;
/** A row holds at most 400 KB in DynamoDB; the engine counts otherwise, so bytes are counted here. */
const CHUNK_BYTES = 300 * 1024;

/** What of a message may be large. */
export interface Content {
  readonly content: string;
  readonly citations: readonly Citation[];
}

/** Where a message's content is: in its row, or in `chunks` rows of its own under the name `edition`. */
export interface StoredContent extends Content {
  readonly chunks: number;
  /** Empty for a content that stands in the row. */
  readonly edition: string;
}

type ContentRow = Item & StoredContent & Place;

/** Splits at byte counts; a character that is cut in two is whole again once the chunks are joined as bytes. */
const split = (bytes: Buffer): Uint8Array[] =>
  Array.from({ length: Math.ceil(bytes.length / CHUNK_BYTES) }, (_, index) =>
    bytes.subarray(index * CHUNK_BYTES, (index + 1) * CHUNK_BYTES),
  );

/**
 * Large contents, in rows of their own beside the message. Every attempt to store one is an edition of its own, named by the
 * message's row once that is written: an attempt that came too late leaves the content of the first as it is.
 */
export function createContentStore({ table, keys }: TenantRows, clock: Clock) {
  const chunkKeys = (place: Place, { edition, chunks }: StoredContent): Key[] =>
    Array.from({ length: chunks }, (_, index) => keys.contentChunk(place, edition, index + 1));

  return {
    /** Stores what does not fit, before the row that refers to it, and returns what that row has to hold. */
    async store(place: Place, { content, citations }: Content): Promise<StoredContent> {
      const whole = JSON.stringify({ content, citations });
      if (Buffer.byteLength(whole) <= INLINE_BYTES_MAX) return { content, citations, chunks: 0, edition: '' };
      const chunks = split(Buffer.from(whole));
      const stored = {
        content: '',
        citations: [],
        chunks: chunks.length,
        edition: ulid(clock.now()),
        large: true,
      } as const;
      const at = chunkKeys(place, stored);
      await Promise.all(at.map((key, index) => table.put(key, { bytes: chunks[index] })));
      return stored;
    },

    /** Removes an edition that no row refers to. */
    discard: (place: Place, stored: StoredContent) => table.removeMany(chunkKeys(place, stored)),

    /** The rows with their contents, all that stand apart read together; `null` for one whose edition has been replaced since it was read. */
    async fill<R extends ContentRow>(rows: readonly R[]): Promise<readonly (R | null)[]> {
      const wanted = rows.flatMap((row) => chunkKeys(row, row));
      if (wanted.length === 0) return rows;
      const found = await table.getMany<Item & { bytes: Uint8Array }>(wanted, true); // the row names what was written just before it
      let next = 0;
      return rows.map((row) => {
        if (row.chunks === 0) return row;
        const chunks = found.slice(next, (next += row.chunks)).flatMap((chunk) => chunk?.bytes ?? []);
        if (chunks.length < row.chunks) return null;
        return { ...row, ...(JSON.parse(Buffer.concat(chunks).toString()) as Content) };
      });
    },
  };
}
