import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';

const SECRET_BYTES = 32;

/** The characters of a secret, for use inside other patterns. */
export const SECRET_PATTERN = '[\\w-]{43}';

/** 256 random bits. */
export const newSecret = (): string => randomBytes(SECRET_BYTES).toString('base64url');

/** What is stored of a secret. Nobody can try 2^256 of them, so a plain hash is as good as a slow one (which is for what people choose). */
export const hashOfSecret = (secret: string): string => createHash('sha256').update(secret).digest('base64url');

/** Whether two hashes are one, in a time that does not tell how much of them is the same. */
export const isSameHash = (a: string, b: string): boolean =>
  a.length === b.length && timingSafeEqual(Buffer.from(a), Buffer.from(b));
