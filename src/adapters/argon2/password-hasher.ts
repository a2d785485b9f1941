import { argon2, randomBytes, timingSafeEqual, type Argon2Parameters } from 'node:crypto';
import { promisify } from 'node:util';
import { bulkhead, BulkheadRejectedError } from 'cockatiel';
import type { PasswordHasher } from '../../auth/ports.ts';
import { AppError } from '../../kernel/errors.ts';

const argon2id = promisify<'argon2id', Argon2Parameters, Buffer>(argon2);

/** Memory in KiB, passes and lanes (RFC 9106 §3.1). */
export interface PasswordCost {
  readonly memory: number;
  readonly passes: number;
  readonly parallelism: number;
}

/** OWASP Password Storage Cheat Sheet, Argon2id: 19 MiB, 2 passes, 1 lane. */
const OWASP: PasswordCost = { memory: 19_456, passes: 2, parallelism: 1 };
/** Two of libuv's four threads: the others are left to files and name look-ups. */
const RUNNING_MAX = 2;
const WAITING_MAX = 100;
const RETRY_AFTER_MS = 2_000;
const SALT_BYTES = 16;
const TAG_BYTES = 32;
const PHC = /^\$argon2id\$v=19\$m=(\d+),t=(\d+),p=(\d+)\$([A-Za-z0-9+/]+)\$([A-Za-z0-9+/]+)$/;

/** The same characters from another keyboard are the same password (NIST SP 800-63B-4, §3.1.1.2). */
const bytesOf = (password: string): Buffer => Buffer.from(password.normalize('NFKC'));

const base64 = (bytes: Buffer): string => bytes.toString('base64').replaceAll('=', '');

/**
 * Argon2id (RFC 9106) by Node's own OpenSSL; hashes are PHC strings, so that the cost can be raised without losing old ones.
 * Few run at the same time, whatever is asked for, so that sign-ins take neither the memory nor the threads of everything else.
 * @throws RATE_LIMITED with `retryAfterMs` when too many wait already.
 */
export function createPasswordHasher(cost: PasswordCost = OWASP): PasswordHasher {
  const places = bulkhead(RUNNING_MAX, WAITING_MAX);

  const derive = (parameters: Argon2Parameters): Promise<Buffer> =>
    places
      .execute(() => argon2id('argon2id', parameters))
      .catch((error: unknown) => {
        if (!(error instanceof BulkheadRejectedError)) throw error;
        throw new AppError('RATE_LIMITED', 'Too many are signing in at the moment.', { retryAfterMs: RETRY_AFTER_MS });
      });

  return {
    async hash(password) {
      const nonce = randomBytes(SALT_BYTES);
      const tag = await derive({ message: bytesOf(password), nonce, tagLength: TAG_BYTES, ...cost });
      return `$argon2id$v=19$m=${cost.memory},t=${cost.passes},p=${cost.parallelism}$${base64(nonce)}$${base64(tag)}`;
    },
    async verify(password, hash) {
      const [, memory, passes, parallelism, salt = '', tag = ''] = PHC.exec(hash) ?? [];
      const expected = Buffer.from(tag, 'base64');
      if (expected.length === 0) return false;
      const actual = await derive({
        message: bytesOf(password),
        nonce: Buffer.from(salt, 'base64'),
        tagLength: expected.length,
        memory: Number(memory),
        passes: Number(passes),
        parallelism: Number(parallelism),
      });
      return timingSafeEqual(actual, expected);
    },
  };
}
