import { elapsedSince, isoTime, type Clock } from '../kernel/clock.ts';
import { ulid } from '../kernel/ids.ts';
import { isOperator, type Actor } from '../tenancy/principal.ts';
import { hashOfSecret, newSecret } from '../tenancy/secret.ts';
import { PLATFORM, type TenantId } from '../tenancy/tenant-id.ts';
import type { Account, SignedInSession } from './model.ts';
import type { KnownAccount } from './password-check.ts';
import type { AccessTokens, AuthLog, Origin, SessionStore, SignInMeter } from './ports.ts';
import { parseRefreshToken, writeRefreshToken, type NamedSession } from './refresh-token.ts';

/** Sessions from their beginning to their end, by the refresh tokens that stand for them. */
export interface Sessions {
  /** Of somebody who has just proved who they are; it is counted as a sign-in that began at `startedAt`. */
  begin(known: KnownAccount, startedAt: number): Promise<SignedInSession>;
  /** The next tokens of a session, with the account's roles as they are now; null for a token that is not good. One that was used before ends its session. */
  renew(refreshToken: string, origin: Origin): Promise<SignedInSession | null>;
  /** Ends the session of this token. Resolves with whose it was; null for a token that proves nothing. */
  end(refreshToken: string): Promise<Actor | null>;
  /** Ends every session of the user whose token this is, and resolves likewise. */
  endAll(refreshToken: string): Promise<Actor | null>;
}

export interface SessionsDependencies {
  readonly sessionsOf: (home: TenantId) => SessionStore;
  /** Whether anybody may be signed in there. */
  readonly isOpen: (home: TenantId) => Promise<boolean>;
  readonly tokens: AccessTokens;
  readonly meter: SignInMeter;
  readonly log: AuthLog;
  readonly clock: Clock;
  readonly refreshTtlMs: number;
}

/** Whose session it is. */
const actorOf = ({ home, userId }: NamedSession): Actor =>
  home === PLATFORM ? { userId, tenantId: null, roles: ['PLATFORM_OPERATOR'] } : { userId, tenantId: home, roles: [] };

export function createSessions(deps: SessionsDependencies): Sessions {
  const { sessionsOf, isOpen, tokens, meter, log, clock, refreshTtlMs } = deps;

  /** What the holder of a session receives: an access token, and the refresh token made of its parts. */
  async function grant(named: NamedSession, account: Account, secret: string): Promise<SignedInSession> {
    const tenantId = named.home === PLATFORM ? null : named.home;
    const { token, principal } = await tokens.issue({ ...account, tenantId, sessionId: named.sessionId });
    return {
      accessToken: token,
      accessTokenExpiresAt: isoTime(principal.expiresAt),
      refreshToken: writeRefreshToken({ ...named, secret }),
      principal,
    };
  }

  /** What is stored of a session: hashes of its secrets. */
  const stored = ({ userId, sessionId, family }: NamedSession, secret: string) => ({
    ...{ userId, sessionId, familyHash: hashOfSecret(family), secretHash: hashOfSecret(secret) },
    expiresAt: clock.now() + refreshTtlMs,
  });

  /** The session whose token this is, or once was; null for a token that proves nothing. */
  async function proven(refreshToken: string): Promise<NamedSession | null> {
    const token = parseRefreshToken(refreshToken);
    if (!token) return null;
    // Rotating proves it.
    const outcome = await sessionsOf(token.home).rotate(stored(token, newSecret()), hashOfSecret(token.secret));
    return outcome === 'UNKNOWN' ? null : token;
  }

  return {
    async begin({ home, account }, startedAt) {
      const { userId, credentialVersion = 0 } = account;
      const named = { home, userId, sessionId: ulid(clock.now()), family: newSecret() };
      const secret = newSecret();
      await sessionsOf(home).create({ ...stored(named, secret), credentialVersion });
      const session = await grant(named, account, secret);
      const signIn = { id: named.sessionId, userId, identityProvider: 'PASSWORD' } as const;
      if (!isOperator(session.principal))
        await meter.recordSignIn(home, { ...signIn, latencyMs: elapsedSince(clock, startedAt) });
      return session;
    },

    async renew(refreshToken, origin) {
      const named = parseRefreshToken(refreshToken);
      if (!named) return null;
      const { home, userId, sessionId } = named;
      const sessions = sessionsOf(home);
      const [account, open] = await Promise.all([sessions.accountOf(userId, sessionId), isOpen(home)]);
      if (!account || account.disabled || !open) return null;
      const secret = newSecret();
      const outcome = await sessions.rotate(stored(named, secret), hashOfSecret(named.secret));
      if (outcome === 'ROTATED') return grant(named, account, secret);
      if (outcome === 'REUSED') {
        await sessions.remove(userId, sessionId);
        log.refreshTokenReused({ home, userId, sessionId, origin });
      }
      return null;
    },

    async end(refreshToken) {
      const session = await proven(refreshToken);
      if (session) await sessionsOf(session.home).remove(session.userId, session.sessionId);
      return session && actorOf(session);
    },

    async endAll(refreshToken) {
      const session = await proven(refreshToken);
      if (session) await sessionsOf(session.home).removeAll(session.userId);
      return session && actorOf(session);
    },
  };
}
