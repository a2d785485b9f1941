import { randomBytes } from 'node:crypto';
import type { Clock } from '../kernel/clock.ts';
import { AppError } from '../kernel/errors.ts';
import { newUserId } from '../tenancy/principal.ts';
import { parseTenantId, PLATFORM, type TenantId } from '../tenancy/tenant-id.ts';
import { tooManyAttempts } from './attempts.ts';
import type { Account } from './model.ts';
import { PASSWORD_CHARACTERS_MAX } from './passwords.ts';
import type { AccountStore, AttemptLimiter, Origin, PasswordHasher } from './ports.ts';

/** What somebody types to sign in. */
export interface Credentials {
  readonly tenant: string;
  readonly email: string;
  readonly password: string;
}

/** An account, and the tenant or the platform it is of. */
export interface KnownAccount {
  readonly home: TenantId;
  readonly account: Account;
}

/**
 * Whose password this is.
 * @throws UNAUTHENTICATED, the same and as late for an unknown tenant, an unknown or disabled user and a wrong password.
 * @throws RATE_LIMITED with `retryAfterMs`, before anything is looked up, for who has failed too often.
 */
export type PasswordCheck = (credentials: Credentials, origin: Origin) => Promise<KnownAccount>;

export interface PasswordCheckDependencies {
  readonly accountsOf: (home: TenantId) => AccountStore;
  /** Whether anybody may be signed in there: in a suspended tenant they may, to be told so by `viewer`. */
  readonly isOpen: (home: TenantId) => Promise<boolean>;
  readonly hasher: PasswordHasher;
  readonly attempts: AttemptLimiter;
  readonly clock: Clock;
}

export function createPasswordCheck(deps: PasswordCheckDependencies): PasswordCheck {
  const { accountsOf, isOpen, hasher, attempts, clock } = deps;
  /** Verified in place of a missing account's hash, so that nobody learns from the time it takes whether an account exists. */
  const decoyHash = hasher.hash(randomBytes(16).toString('hex'));
  decoyHash.catch(() => undefined); // whoever awaits it below sees the failure

  /** Who may sign in by this name. Whoever is missing is looked for with as many reads as somebody who is there. */
  async function findAccount(tenant: string, email: string): Promise<KnownAccount | null> {
    const home = tenant === PLATFORM ? PLATFORM : parseTenantId(tenant);
    const accounts = accountsOf(home ?? PLATFORM);
    const [account, open] = await Promise.all([accounts.findByEmail(email), isOpen(home ?? PLATFORM)]);
    if (!account) await accounts.get(newUserId(clock.now()));
    return home && open && account && !account.disabled ? { home, account } : null;
  }

  return async ({ tenant, email, password }, { ipAddress }) => {
    const attempt = { ipAddress, tenant, email };
    const waitMs = await attempts.beginSignIn(attempt);
    if (waitMs > 0) throw tooManyAttempts(waitMs);
    const plausible = password.length <= PASSWORD_CHARACTERS_MAX;
    const found = await findAccount(tenant, email);
    const matches = await hasher.verify(plausible ? password : '', found?.account.passwordHash ?? (await decoyHash));
    if (!found || !plausible || !matches)
      throw new AppError('UNAUTHENTICATED', 'The tenant, the e-mail address or the password is wrong.');
    await attempts.signedIn(attempt);
    return found;
  };
}
