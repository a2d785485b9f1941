import { ULID_PATTERN } from '../kernel/ids.ts';
import { SECRET_PATTERN } from '../tenancy/secret.ts';
import { parseTenantId, PLATFORM, type TenantId } from '../tenancy/tenant-id.ts';

const REFRESH_TOKEN = new RegExp(
  `^rt\\.([a-z0-9-]+)\\.(user-${ULID_PATTERN})\\.(${ULID_PATTERN})\\.(${SECRET_PATTERN})\\.(${SECRET_PATTERN})$`,
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
