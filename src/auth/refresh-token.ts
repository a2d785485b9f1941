import { createHash, randomBytes } from 'node:crypto';
import { ULID_PATTERN } from '../kernel/ids.ts';
import { parseTenantId, PLATFORM, type TenantId } from '../tenancy/tenant-id.ts';

const SECRET_BYTES = 32;
const SECRET = '[\\w-]{43}';
const REFRESH_TOKEN = new RegExp(
  `^rt\\.([a-z0-9-]+)\\.(user-${ULID_PATTERN})\\.(${ULID_PATTERN})\\.(${SECRET})\\.(${SECRET})$`,
);

/** The session a refresh token is of. It names its tenant itself, so no global look-up exists. */
export interface NamedSession {
  readonly home: TenantId;
  readonly userId: string;
  readonly sessionId: string;
  /** The same in every token of the session. */
  readonly family: string;
}

export interface RefreshToken extends NamedSession {
  /** Another one in every token of the session. */
  readonly secret: string;
}

/** The parts of what claims to be a refresh token; null for what cannot be one. */
export function parseRefreshToken(text: string): RefreshToken | null {
  const [, home, userId, sessionId, family, secret] = REFRESH_TOKEN.exec(text) ?? [];
  const tenantId = home === PLATFORM ? PLATFORM : parseTenantId(home ?? '');
  if (!tenantId || !userId || !sessionId || !family || !secret) return null;
  return { home: tenantId, userId, sessionId, family, secret };
}

export const writeRefreshToken = ({ home, userId, sessionId, family, secret }: RefreshToken): string =>
  `rt.${home}.${userId}.${sessionId}.${family}.${secret}`;

export const newSecret = (): string => randomBytes(SECRET_BYTES).toString('base64url');

/** The secret is 256 random bits, so a plain hash is as good as a slow one. */
export const hashSecret = (secret: string): string => createHash('sha256').update(secret).digest('base64url');
