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
  /**
   * Stores the password in exchange for the token, whose time must not be over. The account as it is then; null when that is not the
   * stored token (any more). Sessions begun before count no more.
   */
  redeem(userId: string, tokenHash: string, passwordHash: string): Promise<Account | null>;
  /**
   * Stores the password in place of the one before, and takes back a token. The account as it is then; null when that is not the
   * stored password any more. Sessions begun before count no more.
   */
  replacePassword(userId: string, before: string, passwordHash: string): Promise<Account | null>;
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
  /**
   * The account that this is a session of, in one read; null when the session has ended, or the account is gone, or has another
   * credential than the one that the session was begun with.
   */
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

/** An address and an account in the words of whoever tries to sign in, whether there are such or not. */
export interface Attempt {
  readonly ipAddress: string | null;
  readonly tenant: string;
  readonly email: string;
}

/** Counts by key, in windows of time that begin with the first count of a key. */
export interface AttemptCounter {
  /** Counts one. Resolves with how long to wait, in milliseconds, if that was one too many; else 0. */
  add(key: string): Promise<number>;
  takeBack(key: string): Promise<void>;
  forget(key: string): Promise<void>;
  /** How long until one more would not be too many, in milliseconds; 0 if it is not now. */
  wait(key: string): Promise<number>;
}

export type OpenAttemptCounter = (
  name: string,
  limit: { readonly max: number; readonly windowMs: number },
) => AttemptCounter;

/** Counts attempts in which somebody proves who they are, so that nobody can guess for long. */
export interface AttemptLimiter {
  /** Counts a sign-in that is about to be tried. Resolves with how long to wait until it may be, in milliseconds; 0 when it may. */
  beginSignIn(attempt: Attempt): Promise<number>;
  /** It succeeded: it is not counted any more, nor are the ones before it from this address to this account. */
  signedIn(attempt: Attempt): Promise<void>;
  /** How long this address has to wait until it may present a refresh token, or one of an invitation or a reset; 0 when it may. */
  tokenWait(ipAddress: string | null): Promise<number>;
  /** Counts such a token that was not good. */
  tokenRefused(ipAddress: string | null): Promise<void>;
}

/** Where a request came from. */
export interface Origin {
  readonly ipAddress: string | null;
  readonly userAgent: string | null;
}

/** Told of what a caller's own answer does not say. It must not throw, nor keep anybody waiting. */
export interface AuthLog {
  /** A refresh token was presented after it had been replaced: it is in two hands, so its session was ended. */
  refreshTokenReused(session: {
    readonly home: TenantId;
    readonly userId: string;
    readonly sessionId: string;
    readonly origin: Origin;
  }): void;
}

/** Counts sign-ins as usage. */
export interface SignInMeter {
  recordSignIn(tenantId: TenantId, signIn: SignIn): Promise<void>;
}
