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
const SECRET = '[\\w-]{43}';
const REFRESH_TOKEN = new RegExp(
  `^rt\\.([a-z0-9-]+)\\.(user-${ULID_PATTERN})\\.(${ULID_PATTERN})\\.(${SECRET})\\.(${SECRET})$`,
);

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

/** The parts of a refresh token. It names its tenant itself, so no global look-up exists. */
interface NamedSession {
  readonly home: TenantId;
  readonly userId: string;
  readonly sessionId: string;
  /** The same in every token of the session. */
  readonly family: string;
}

function parseRefreshToken(text: string): (NamedSession & { readonly secret: string }) | null {
  const [, home, userId, sessionId, family, secret] = REFRESH_TOKEN.exec(text) ?? [];
  const tenantId = home === PLATFORM ? PLATFORM : parseTenantId(home ?? '');
  if (!tenantId || !userId || !sessionId || !family || !secret) return null;
  return { home: tenantId, userId, sessionId, family, secret };
}

const newSecret = (): string => randomBytes(REFRESH_SECRET_BYTES).toString('base64url');

/** The secret is 256 random bits, so a plain hash is as good as a slow one. */
const hashSecret = (secret: string): string => createHash('sha256').update(secret).digest('base64url');

const refused = (message: string): AppError => new AppError('UNAUTHENTICATED', message);

export function createAuthService(deps: AuthDependencies): AuthService {
  const { accountsOf, sessionsOf, hasher, tokens, meter, clock, refreshTtlMs } = deps;
  /** Verified in place of a missing account's hash, so that nobody learns from the time it takes whether an account exists. */
  const decoyHash = hasher.hash(randomBytes(16).toString('hex'));
  decoyHash.catch(() => undefined); // whoever awaits it below sees the failure

  /** What the holder of a session receives: an access token, and the refresh token made of its parts. */
  async function grant(named: NamedSession, account: Account, secret: string): Promise<SignedInSession> {
    const { home, userId, sessionId, family } = named;
    const tenantId = home === PLATFORM ? null : home;
    const { token, principal } = await tokens.issue({ ...account, tenantId, sessionId });
    return {
      accessToken: token,
      accessTokenExpiresAt: isoTime(principal.expiresAt),
      refreshToken: `rt.${home}.${userId}.${sessionId}.${family}.${secret}`,
      principal,
    };
  }

  /** What is stored of a session: hashes of its secrets. */
  const stored = ({ userId, sessionId, family }: NamedSession, secret: string) => ({
    userId,
    sessionId,
    familyHash: hashSecret(family),
    secretHash: hashSecret(secret),
    expiresAt: clock.now() + refreshTtlMs,
  });

  return {
    async signIn({ tenant, email, password }) {
      const startedAt = clock.now();
      const home = tenant === PLATFORM ? PLATFORM : parseTenantId(tenant);
      const plausible = password.length <= PASSWORD_CHARACTERS_MAX;
      const found = home && (await accountsOf(home).findByEmail(email));
      const account = found && !found.disabled ? found : null;
      const hash = account ? account.passwordHash : await decoyHash;
      const matches = await hasher.verify(plausible ? password : '', hash);
      if (!home || !account || !plausible || !matches)
        throw refused('The tenant, the e-mail address or the password is wrong.');

      const named = { home, userId: account.userId, sessionId: ulid(clock.now()), family: newSecret() };
      const secret = newSecret();
      await sessionsOf(home).create(stored(named, secret));
      const session = await grant(named, account, secret);
      if (!isOperator(session.principal)) {
        const { userId, sessionId: id } = named;
        await meter.recordSignIn(home, {
          ...{ id, userId, identityProvider: 'PASSWORD', latencyMs: clock.now() - startedAt },
        });
      }
      return session;
    },

    async refresh(refreshToken) {
      const named = parseRefreshToken(refreshToken);
      const account = named && (await accountsOf(named.home).get(named.userId));
      if (!named || !account || account.disabled) throw refused('The refresh token is not valid.');
      const sessions = sessionsOf(named.home);
      const secret = newSecret();
      const outcome = await sessions.rotate(stored(named, secret), hashSecret(named.secret));
      if (outcome === 'REUSED') await sessions.remove(named.userId, named.sessionId);
      if (outcome !== 'ROTATED') throw refused('The refresh token is not valid.');
      return grant(named, account, secret);
    },

    async signOut(refreshToken) {
      const named = parseRefreshToken(refreshToken);
      if (!named) return;
      // Rotating proves that the token is, or once was, one of this session.
      const sessions = sessionsOf(named.home);
      const outcome = await sessions.rotate(stored(named, newSecret()), hashSecret(named.secret));
      if (outcome !== 'UNKNOWN') await sessions.remove(named.userId, named.sessionId);
    },
  };
}
