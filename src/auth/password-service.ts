import type { Clock } from '../kernel/clock.ts';
import { AppError, badInput } from '../kernel/errors.ts';
import { isGood, parsePasswordToken } from '../tenancy/password-token.ts';
import type { TenantScope } from '../tenancy/scope.ts';
import type { TenantId } from '../tenancy/tenant-id.ts';
import { tooManyAttempts } from './attempts.ts';
import type { SignedInSession } from './model.ts';
import type { KnownAccount, PasswordCheck } from './password-check.ts';
import { hashChosen } from './passwords.ts';
import type { AttemptLimiter, Origin, PasswordHasher, PasswordStore, SessionStore } from './ports.ts';
import type { Sessions } from './sessions.ts';

export interface PasswordChange {
  readonly currentPassword: string;
  readonly newPassword: string;
}

export interface PasswordService {
  /**
   * Stores the password that somebody chose with the token of an invitation or a reset, ends what they had open, and signs them in.
   * @throws UNAUTHENTICATED, the same for every token that is not good; BAD_USER_INPUT for the password: the token is still good then.
   * @throws RATE_LIMITED with `retryAfterMs` for an address that presented too many tokens that were not good.
   */
  accept(input: { readonly token: string; readonly password: string }, origin: Origin): Promise<SignedInSession>;
  /**
   * Replaces the caller's password, ends all their sessions, and signs them in anew.
   * @throws BAD_USER_INPUT where either password is wrong; RATE_LIMITED as for a sign-in; CONFLICT when it was changed meanwhile.
   */
  change(scope: TenantScope, input: PasswordChange, origin: Origin): Promise<SignedInSession>;
}

export interface PasswordDependencies {
  readonly passwordsOf: (home: TenantId) => PasswordStore;
  readonly sessionsOf: (home: TenantId) => Pick<SessionStore, 'removeAll'>;
  /** Whether anybody may be signed in there. */
  readonly isOpen: (home: TenantId) => Promise<boolean>;
  readonly checkPassword: PasswordCheck;
  readonly sessions: Pick<Sessions, 'begin'>;
  readonly attempts: AttemptLimiter;
  readonly hasher: PasswordHasher;
  readonly clock: Clock;
}

export function createPasswordService(deps: PasswordDependencies): PasswordService {
  const { passwordsOf, sessionsOf, isOpen, checkPassword, sessions, attempts, hasher, clock } = deps;

  /** Whose token this is, and what they are called; null for a token that is not good. */
  async function holderOf(token: string) {
    const parsed = parsePasswordToken(token);
    const waiting = parsed && (await passwordsOf(parsed.home).waiting(parsed.userId));
    const good = waiting !== null && parsed !== null && isGood(waiting.token, parsed, clock.now());
    return good && (await isOpen(parsed.home)) ? { ...parsed, ...waiting } : null;
  }

  /** Stores a password in exchange for a token; null where the token is not good. */
  async function redeem(token: string, password: string): Promise<KnownAccount | null> {
    const holder = await holderOf(token);
    if (!holder) return null;
    const { home, userId, hash, name, email } = holder;
    const passwordHash = await hashChosen(hasher, password, { tenant: home, name, email });
    const account = await passwordsOf(home).redeem(userId, hash, passwordHash);
    return account && { home, account };
  }

  /** Signs somebody in with the password they have just chosen. What was begun with the one before counts no more; its rows go as well. */
  async function beginAnew(known: KnownAccount, startedAt: number): Promise<SignedInSession> {
    await sessionsOf(known.home).removeAll(known.account.userId);
    return sessions.begin(known, startedAt);
  }

  return {
    async accept({ token, password }, { ipAddress }) {
      const startedAt = clock.now();
      const waitMs = await attempts.tokenWait(ipAddress);
      if (waitMs > 0) throw tooManyAttempts(waitMs);
      const known = await redeem(token, password);
      if (known) return beginAnew(known, startedAt);
      await attempts.tokenRefused(ipAddress);
      throw new AppError('UNAUTHENTICATED', 'The token is not valid, was used, or has expired.');
    },

    async change({ tenantId: tenant, principal }, { currentPassword, newPassword }, origin) {
      const startedAt = clock.now();
      const passwords = passwordsOf(tenant);
      const account = await passwords.get(principal.userId);
      if (!account)
        throw new AppError('NOT_FOUND', 'There is no password of yours here: it is your issuer’s to change.');
      const { userId, name, email, passwordHash: before } = account;
      await checkPassword({ tenant, email, password: currentPassword }, origin).catch((error: unknown) => {
        // The caller is signed in: what they typed is wrong, not who they are.
        if (!(error instanceof AppError) || error.code !== 'UNAUTHENTICATED') throw error;
        throw badInput('`currentPassword` is wrong.', 'currentPassword');
      });
      const passwordHash = await hashChosen(hasher, newPassword, { tenant, name, email }, 'newPassword');
      const changed = await passwords.replacePassword(userId, before, passwordHash);
      if (!changed) throw new AppError('CONFLICT', 'The password was changed meanwhile.');
      return beginAnew({ home: tenant, account: changed }, startedAt);
    },
  };
}
