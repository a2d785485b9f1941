import type { Citation } from '../../conversations/model.ts';
import { ulid } from '../../kernel/ids.ts';
import type { Clock } from '../../kernel/clock.ts';
import type { TenantRows } from './conversation-store.ts';
import type { Key } from './keys.ts';
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
  readonly edition?: string;
  /** Whether any edition was ever stored beside the row. */
  readonly large?: true;
}

export interface Place {
  readonly conversationId: string;
  readonly sequence: number;
}

type ContentRow = Item & StoredContent & Place;

/** Splits at byte counts; a character that is cut in two is whole again once the chunks are joined as bytes. */
const split = (bytes: Buffer): Uint8Array[] =>
  Array.from({ length: Math.ceil(bytes.length / CHUNK_BYTES) }, (_, index) =>
    bytes.subarray(index * CHUNK_BYTES, (index + 1) * CHUNK_BYTES),
  );

export type ContentStore = ReturnType<typeof createContentStore>;

/**
 * Large contents, in rows of their own beside the message. Every attempt to store one is an edition of its own, named by the
 * message's row once that is written: an attempt that came too late leaves the content of the first as it is.
 */
export function createContentStore({ table, keys }: TenantRows, clock: Clock) {
  const chunkKeys = ({ conversationId, sequence }: Place, { edition, chunks }: StoredContent): Key[] =>
    edition === undefined
      ? []
      : Array.from({ length: chunks }, (_, index) => keys.contentChunk(conversationId, sequence, edition, index + 1));

  return {
    /** Stores what does not fit, before the row that refers to it, and returns what that row has to hold. */
    async store(place: Place, { content, citations }: Content): Promise<StoredContent> {
      const whole = JSON.stringify({ content, citations });
      if (Buffer.byteLength(whole) <= INLINE_BYTES_MAX) return { content, citations, chunks: 0 };
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

    /** Removes every edition but the one the row refers to. */
    async removeOthers(row: ContentRow): Promise<void> {
      if (row.large) await table.removeMany(await this.keysOf(row, row.edition));
    },

    /** The keys of everything stored beside a message, but for one edition. */
    async keysOf({ conversationId, sequence }: Place, except?: string): Promise<Key[]> {
      const found: Key[] = [];
      for await (const { PK, SK } of table.rows<Item & Key>({
        ...keys.contentOf(conversationId, sequence),
        keysOnly: true,
      })) {
        if (except === undefined || !SK.startsWith(`${except}#`)) found.push({ PK, SK });
      }
      return found;
    },

    /** The rows with their contents; all that stand apart are read together. */
    async fill<R extends ContentRow>(rows: readonly (R | null)[]): Promise<readonly (R | null)[]> {
      const wanted = rows.flatMap((row) => (row ? chunkKeys(row, row) : []));
      if (wanted.length === 0) return rows;
      const found = await table.getMany<Item & { bytes: Uint8Array }>(wanted);
      let next = 0;
      return rows.map((row) => {
        if (!row?.chunks) return row;
        const chunks = found.slice(next, (next += row.chunks));
        const bytes = Buffer.concat(chunks.map((chunk) => chunk?.bytes ?? new Uint8Array()));
        return { ...row, ...(JSON.parse(bytes.toString()) as Content) };
      });
    },
  };
}
