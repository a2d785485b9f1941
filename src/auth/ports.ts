import type { Principal } from '../tenancy/principal.ts';
import type { StoredPasswordToken } from '../tenancy/password-token.ts';
import type { TenantId } from '../tenancy/tenant-id.ts';
import type { AccessClaims, Account, RefreshSession } from './model.ts';

/** The accounts of one tenant, or of the platform. */
export interface AccountStore {
  findByEmail(email: string): Promise<Account | null>;
  get(userId: string): Promise<Account | null>;
}

/** The passwords of one tenant's accounts, or of the platform's. */
export interface PasswordStore extends Pick<AccountStore, 'get'> {
  /** Somebody who may choose a password, and with what; null for whoever may not. */
  waiting(userId: string): Promise<{ name: string; email: string; token: StoredPasswordToken } | null>;
  /** Stores the password in exchange for the token, whose time must not be over. False when that is not the stored one (any more). */
  redeem(userId: string, tokenHash: string, passwordHash: string): Promise<boolean>;
  /** Stores the password in place of the one before, and takes back a token. False when that is not the stored one any more. */
  replacePassword(userId: string, before: string, passwordHash: string): Promise<boolean>;
}

/** The refresh sessions of one tenant, or of the platform. */
export interface SessionStore {
  create(session: RefreshSession): Promise<void>;
  /**
   * Replaces the secret if it is still the one presented. `REUSED`: it was replaced before, so a token of this session is in two
   * hands. `UNKNOWN`: the session is gone, or the token was never one of it.
   */
  rotate(session: RefreshSession, presentedHash: string): Promise<'ROTATED' | 'REUSED' | 'UNKNOWN'>;
  remove(userId: string, sessionId: string): Promise<void>;
  /** The account that this is a session of, in one read; null when the session has ended, or the account is gone. */
  accountOf(userId: string, sessionId: string): Promise<Account | null>;
  /** Ends every session of a user. */
  removeAll(userId: string): Promise<void>;
}

export interface PasswordHasher {
  hash(password: string): Promise<string>;
  /** Takes as long for a wrong password as for a right one. */
  verify(password: string, hash: string): Promise<boolean>;
}

export interface AccessTokens {
  issue(claims: AccessClaims): Promise<{ readonly token: string; readonly principal: Principal }>;
  /** @throws UNAUTHENTICATED for anything but an unexpired token this installation issued. */
  verify(token: string): Promise<Principal>;
}

/** How somebody signed in. */
export interface SignIn {
  /** That of the session it began. */
  readonly id: string;
  readonly userId: string;
  readonly identityProvider: 'PASSWORD';
  readonly latencyMs: number;
}

/** Counts sign-ins as usage. */
export interface SignInMeter {
  recordSignIn(tenantId: TenantId, signIn: SignIn): Promise<void>;
}
