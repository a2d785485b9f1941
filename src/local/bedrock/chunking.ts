/** A piece of the answer as it travels. */
export interface Chunk {
  readonly bytes: Buffer;
  /** Offsets into the answer in UTF-16 units; a character cut in two belongs to the later chunk. */
  readonly start: number;
  readonly end: number;
}

const WORDS_PER_CHUNK = 3;

/** How many chunks a streamed answer has when nobody asked for a number. */
export const chunksFor = (text: string): number => Math.max(1, Math.ceil(wordsOf(text).length / WORDS_PER_CHUNK));

/**
 * Cuts an answer into exactly `count` chunks between words (fewer only if it has fewer words).
 *
 * With two chunks or more, the first character outside ASCII is cut in the middle of its bytes, as Bedrock may do: a client that
 * decodes each chunk by itself shows a replacement character.
 */
export const cutIntoChunks = (text: string, count: number): readonly Chunk[] => {
  const words = wordsOf(text);
  const pieces = Math.min(count, Math.max(1, words.length));
  const offsets = [0];
  for (const word of words) offsets.push((offsets.at(-1) ?? 0) + word.length);
  const bounds = Array.from(
    { length: pieces + 1 },
    (_, index) => offsets[Math.round((index * words.length) / pieces)] ?? 0,
  );
  const chunks = bounds.slice(1).map((end, index) => chunkOf(text, bounds[index] ?? 0, end));
  return splitCharacter(text, chunks);
};

const wordsOf = (text: string): readonly string[] => text.match(/\S+\s*/g) ?? [];

const chunkOf = (text: string, start: number, end: number): Chunk => ({
  bytes: Buffer.from(text.slice(start, end)),
  start,
  end,
});

const splitCharacter = (text: string, chunks: readonly Chunk[]): readonly Chunk[] => {
  const at = text.search(/[^\0-\x7f]/u);
  const holder = chunks.findIndex(({ start, end }) => at >= start && at < end);
  if (holder < 0 || chunks.length < 2) return chunks;
  // The last chunk has no successor to give the rest to, so there the character's first byte goes to its predecessor.
  const first = Math.min(holder, chunks.length - 2);
  const pair = chunks.slice(first, first + 2);
  const bytes = Buffer.concat(pair.map((chunk) => chunk.bytes));
  const start = pair[0]?.start ?? 0;
  const cut = Buffer.byteLength(text.slice(start, at)) + 1;
  return [
    ...chunks.slice(0, first),
    { bytes: bytes.subarray(0, cut), start, end: at },
    { bytes: bytes.subarray(cut), start: at, end: pair[1]?.end ?? at },
    ...chunks.slice(first + 2),
  ];
};
