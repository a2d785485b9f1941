import { ULID_PATTERN } from '../kernel/ids.ts';
import { hashOfSecret, isSameHash, newSecret, SECRET_PATTERN } from './secret.ts';
import { parseTenantId, PLATFORM, type TenantId } from './tenant-id.ts';

const PASSWORD_TOKEN = new RegExp(`^pt\\.([a-z0-9-]+)\\.(user-${ULID_PATTERN})\\.(${SECRET_PATTERN})$`);

/** What is stored of a token with which somebody may choose their password once. */
export interface StoredPasswordToken {
  readonly hash: string;
  /** Milliseconds since the Unix epoch. */
  readonly expiresAt: number;
}

/** Whose token it is. It names its tenant itself, so no global look-up exists. */
export interface PasswordToken {
  readonly home: TenantId;
  readonly userId: string;
  readonly hash: string;
}

export function newPasswordToken(home: TenantId, userId: string): { readonly token: string; readonly hash: string } {
  const secret = newSecret();
  return { token: `pt.${home}.${userId}.${secret}`, hash: hashOfSecret(secret) };
}

/** The parts of what claims to be such a token; null for what cannot be one. */
export function parsePasswordToken(text: string): PasswordToken | null {
  const [, slug = '', userId, secret] = PASSWORD_TOKEN.exec(text) ?? [];
  const home = slug === PLATFORM ? PLATFORM : parseTenantId(slug);
  return home && userId && secret ? { home, userId, hash: hashOfSecret(secret) } : null;
}

/** Whether this is the stored token, and its time is not over. */
export const isGood = (stored: StoredPasswordToken | null, { hash }: PasswordToken, now: number): boolean =>
  stored !== null && stored.expiresAt > now && isSameHash(stored.hash, hash);
