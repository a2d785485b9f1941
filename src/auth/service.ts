import { createHash, randomBytes } from 'node:crypto';
import { isoTime, type Clock } from '../kernel/clock.ts';
import { AppError } from '../kernel/errors.ts';
import { ulid, ULID_PATTERN } from '../kernel/ids.ts';
import { isOperator } from '../tenancy/principal.ts';
import { parseTenantId, PLATFORM, type TenantId } from '../tenancy/tenant-id.ts';
import type { Account, SignedInSession } from './model.ts';
import type { AccessTokens, AccountStore, PasswordHasher, SessionStore, SignInMeter } from './ports.ts';

/** Longer passwords are refused before they are hashed: hashing is what an attacker would have us pay for. */
const PASSWORD_CHARACTERS_MAX = 1024;
const REFRESH_SECRET_BYTES = 32;
const REFRESH_TOKEN = new RegExp(`^rt\\.([a-z0-9-]+)\\.(user-${ULID_PATTERN})\\.(${ULID_PATTERN})\\.([\\w-]{43})$`);

export interface AuthService {
  /** @throws UNAUTHENTICATED, the same and as late for an unknown tenant, an unknown user and a wrong password. */
  signIn(input: {
    readonly tenant: string;
    readonly email: string;
    readonly password: string;
  }): Promise<SignedInSession>;
  /** @throws UNAUTHENTICATED. A token that was used before also ends its session: it may be in other hands. */
  refresh(refreshToken: string): Promise<SignedInSession>;
  signOut(refreshToken: string): Promise<void>;
}

export interface AuthDependencies {
  readonly accountsOf: (home: TenantId) => AccountStore;
  readonly sessionsOf: (home: TenantId) => SessionStore;
  readonly hasher: PasswordHasher;
  readonly tokens: AccessTokens;
  readonly meter: SignInMeter;
  readonly clock: Clock;
  readonly refreshTtlMs: number;
}

/** Reads a refresh token into the session it names. It names its tenant itself, so no global look-up exists. */
function parseRefreshToken(text: string) {
  const [, home, userId, sessionId, secret] = REFRESH_TOKEN.exec(text) ?? [];
  const tenantId = home === PLATFORM ? PLATFORM : parseTenantId(home ?? '');
  if (!tenantId || !userId || !sessionId || !secret) return null;
  return { home: tenantId, userId, sessionId, secretHash: hashSecret(secret) };
}

/** The secret is 256 random bits, so a plain hash is as good as a slow one. */
const hashSecret = (secret: string): string => createHash('sha256').update(secret).digest('base64url');

const refused = (message: string): AppError => new AppError('UNAUTHENTICATED', message);

export function createAuthService(deps: AuthDependencies): AuthService {
  const { accountsOf, sessionsOf, hasher, tokens, meter, clock, refreshTtlMs } = deps;
  /** Verified in place of a missing account's hash, so that nobody learns from the time it takes whether an account exists. */
  const decoyHash = hasher.hash(randomBytes(16).toString('hex'));
  decoyHash.catch(() => undefined); // whoever awaits it below sees the failure

  async function openSession(
    home: TenantId,
    account: Account,
    sessionId: string,
    store: (hash: string) => Promise<void>,
  ) {
    const secret = randomBytes(REFRESH_SECRET_BYTES).toString('base64url');
    await store(hashSecret(secret));
    const tenantId = home === PLATFORM ? null : home;
    const { token, principal } = await tokens.issue({ ...account, tenantId, sessionId });
    return {
      accessToken: token,
      accessTokenExpiresAt: isoTime(principal.expiresAt),
      refreshToken: `rt.${home}.${account.userId}.${sessionId}.${secret}`,
      principal,
    };
  }

  return {
    async signIn({ tenant, email, password }) {
      const startedAt = clock.now();
      const home = tenant === PLATFORM ? PLATFORM : parseTenantId(tenant);
      const plausible = password.length <= PASSWORD_CHARACTERS_MAX;
      const account = home && (await accountsOf(home).findByEmail(email));
      const hash = account ? account.passwordHash : await decoyHash;
      const matches = await hasher.verify(plausible ? password : '', hash);
      if (!home || !account || !plausible || !matches)
        throw refused('The tenant, the e-mail address or the password is wrong.');

      const sessionId = ulid(clock.now());
      const session = await openSession(home, account, sessionId, (secretHash) =>
        sessionsOf(home).create({
          userId: account.userId,
          sessionId,
          secretHash,
          expiresAt: clock.now() + refreshTtlMs,
        }),
      );
      if (!isOperator(session.principal)) await meter.recordSignIn(home, account.userId, clock.now() - startedAt);
      return session;
    },

    async refresh(refreshToken) {
      const named = parseRefreshToken(refreshToken);
      const account = named && (await accountsOf(named.home).get(named.userId));
      if (!named || !account) throw refused('The refresh token is not valid.');
      const { home, userId, sessionId, secretHash: oldHash } = named;
      return openSession(home, account, sessionId, async (secretHash) => {
        const expiresAt = clock.now() + refreshTtlMs;
        if (await sessionsOf(home).rotate({ userId, sessionId, secretHash, expiresAt }, oldHash)) return;
        await sessionsOf(home).remove(userId, sessionId);
        throw refused('The refresh token is not valid.');
      });
    },

    async signOut(refreshToken) {
      const named = parseRefreshToken(refreshToken);
      if (!named) return;
      // Only whoever holds the current secret may end the session: rotating it first proves that.
      const ended = { ...named, secretHash: '', expiresAt: clock.now() };
      if (await sessionsOf(named.home).rotate(ended, named.secretHash)) {
        await sessionsOf(named.home).remove(named.userId, named.sessionId);
      }
    },
  };
}
