import type { Principal, Role } from '../tenancy/principal.ts';
import type { TenantId } from '../tenancy/tenant-id.ts';

/** Somebody who can sign in. The hash never leaves the auth service. */
export interface Account {
  readonly userId: string;
  readonly name: string;
  readonly email: string;
  readonly roles: readonly Role[];
  /** It is kept, but may not be used. */
  readonly disabled?: boolean;
  /** PHC string, see https://github.com/P-H-C/phc-string-format. */
  readonly passwordHash: string;
  /** How often the password was replaced, or the account disabled; left out: never. */
  readonly credentialVersion?: number;
}

/**
 * A sign-in that can be renewed. Of its refresh token only hashes are stored: of the part that stays the same, which proves
 * that somebody once held a token of this session, and of the part that changes with every use.
 */
export interface RefreshSession {
  readonly userId: string;
  readonly sessionId: string;
  readonly familyHash: string;
  readonly secretHash: string;
  /** That of the account when it proved itself. The session counts no longer than that: also one begun while the password was being changed. */
  readonly credentialVersion?: number;
  /** Milliseconds since the Unix epoch. */
  readonly expiresAt: number;
}

/** What an access token says. */
export interface AccessClaims {
  readonly userId: string;
  readonly sessionId: string;
  readonly name: string;
  readonly email: string | null;
  readonly roles: readonly Role[];
  /** Null for a platform operator. */
  readonly tenantId: TenantId | null;
}

/** A session as its owner receives it. */
export interface SignedInSession {
  readonly accessToken: string;
  readonly accessTokenExpiresAt: string;
  readonly refreshToken: string;
  readonly principal: Principal;
}
