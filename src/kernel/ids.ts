import { randomBytes } from 'node:crypto';

/** Crockford's base 32: no I, L, O, U. */
const ALPHABET = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';
const TIME_CHARACTERS = 10;
const RANDOM_CHARACTERS = 16;

/** The 26 characters of a ULID, for use inside other patterns. The first one is at most 7: 48 bits of time (ULID specification). */
export const ULID_PATTERN = '[0-7][0-9A-HJKMNP-TV-Z]{25}';

/** What every ULID of a moment begins with. It sorts before all of them, and behind all of earlier moments; before 1970 there are none. */
export function ulidPrefix(ms: number): string {
  let time = '';
  for (let rest = Math.max(0, ms); time.length < TIME_CHARACTERS; rest = Math.floor(rest / 32))
    time = ALPHABET.charAt(rest % 32) + time;
  return time;
}

/** A ULID (https://github.com/ulid/spec): 48 bits of time, 80 random bits; sorts by time, never repeats in practice. */
export function ulid(nowMs: number): string {
  const random = Array.from(randomBytes(RANDOM_CHARACTERS), (byte) => ALPHABET.charAt(byte & 31)).join('');
  return ulidPrefix(nowMs) + random;
}

/** 128 bits in the form of a ULID, for ids that are derived from something. They say no time. */
export function ulidOf(bytes: Uint8Array): string {
  let rest = bytes.subarray(0, 16).reduce((number, byte) => number * 256n + BigInt(byte), 0n);
  let id = '';
  for (; id.length < TIME_CHARACTERS + RANDOM_CHARACTERS; rest /= 32n) id = ALPHABET.charAt(Number(rest % 32n)) + id;
  return id;
}

/** ULIDs that each sort after the one before, also within a millisecond and when the clock goes back ("monotonicity" in the specification). */
export function createUlids(): (nowMs: number) => string {
  let last = '';
  return (nowMs) => {
    const next = ulid(nowMs);
    last = next > last ? next : successor(last);
    return last;
  };
}

/** The next higher ULID. */
function successor(id: string): string {
  const keep = id.replace(/Z+$/, '');
  const next = ALPHABET.charAt(ALPHABET.indexOf(keep.slice(-1)) + 1);
  return (keep.slice(0, -1) + next).padEnd(id.length, '0');
}

/** The moment a ULID was made, in milliseconds since the Unix epoch. The caller has checked its shape. */
export const ulidTime = (id: string): number =>
  Array.from(id.slice(0, TIME_CHARACTERS)).reduce((time, character) => time * 32 + ALPHABET.indexOf(character), 0);
