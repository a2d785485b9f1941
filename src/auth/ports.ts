import type { Principal } from '../tenancy/principal.ts';
import type { TenantId } from '../tenancy/tenant-id.ts';
import type { AccessClaims, Account, RefreshSession } from './model.ts';

/** The accounts of one tenant, or of the platform. */
export interface AccountStore {
  findByEmail(email: string): Promise<Account | null>;
  get(userId: string): Promise<Account | null>;
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
