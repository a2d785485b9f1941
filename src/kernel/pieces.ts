/** Pieces are gathered up to about this size: a write for every row would be slow. */
const PIECE_CHARACTERS = 65_536;

/** A text gathered into pieces of some 64 KB, as they are read. */
export async function* pieces(texts: AsyncIterable<string>): AsyncGenerator<string> {
  let piece = '';
  for await (const text of texts) {
    piece += text;
    if (piece.length < PIECE_CHARACTERS) continue;
    yield piece;
    piece = '';
  }
  if (piece !== '') yield piece;
}
