import type { Clock } from '../kernel/clock.ts';
import { AppError, badInput } from '../kernel/errors.ts';
import { isGood, parsePasswordToken } from '../tenancy/password-token.ts';
import type { TenantScope } from '../tenancy/scope.ts';
import type { TenantId } from '../tenancy/tenant-id.ts';
import type { SignedInSession } from './model.ts';
import { hashChosen } from './passwords.ts';
import type { PasswordHasher, PasswordStore, SessionStore } from './ports.ts';
import type { AuthService } from './service.ts';

/** What the sign-in of whoever has just chosen a password is told of the request. */
type Request = Parameters<AuthService['signIn']> extends [unknown, ...infer Rest] ? Rest : never;

export interface PasswordChange {
  readonly currentPassword: string;
  readonly newPassword: string;
}

export interface PasswordService {
  /**
   * Stores the password that somebody chose with the token of an invitation or a reset, ends what they had open, and signs them in.
   * @throws UNAUTHENTICATED, the same for every token that is not good; BAD_USER_INPUT for the password: the token is still good then.
   */
  accept(input: { readonly token: string; readonly password: string }, ...request: Request): Promise<SignedInSession>;
  /**
   * Replaces the caller's password, ends all their sessions, and signs them in anew.
   * @throws BAD_USER_INPUT where either password is wrong; RATE_LIMITED as for a sign-in; CONFLICT when it was changed meanwhile.
   */
  change(scope: TenantScope, input: PasswordChange, ...request: Request): Promise<SignedInSession>;
}

export interface PasswordDependencies {
  readonly passwordsOf: (home: TenantId) => PasswordStore;
  readonly sessionsOf: (home: TenantId) => Pick<SessionStore, 'removeAll'>;
  /** Signs in, and counts failures. */
  readonly signIn: AuthService['signIn'];
  readonly hasher: PasswordHasher;
  readonly clock: Clock;
}

const refused = (): AppError => new AppError('UNAUTHENTICATED', 'The token is not valid, was used, or has expired.');

export function createPasswordService(deps: PasswordDependencies): PasswordService {
  const { passwordsOf, sessionsOf, signIn, hasher, clock } = deps;

  return {
    async accept({ token, password }, ...request) {
      const parsed = parsePasswordToken(token);
      const waiting = parsed && (await passwordsOf(parsed.home).waiting(parsed.userId));
      if (!parsed || !waiting || !isGood(waiting.token, parsed, clock.now())) throw refused();
      const { home: tenant, userId } = parsed;
      const { name, email } = waiting;
      const passwordHash = await hashChosen(hasher, password, { tenant, name, email });
      if (!(await passwordsOf(tenant).redeem(userId, parsed.hash, passwordHash))) throw refused();
      await sessionsOf(tenant).removeAll(userId);
      return signIn({ tenant, email, password }, ...request);
    },

    async change({ tenantId: tenant, principal }, { currentPassword, newPassword }, ...request) {
      const { userId, name } = principal;
      const passwords = passwordsOf(tenant);
      const account = await passwords.get(userId);
      if (!account) throw new AppError('NOT_FOUND', 'There is no such user.');
      const { email, passwordHash: before } = account;
      await signIn({ tenant, email, password: currentPassword }, ...request).catch((error: unknown) => {
        // The caller is signed in: what they typed is wrong, not who they are.
        if (!(error instanceof AppError) || error.code !== 'UNAUTHENTICATED') throw error;
        throw badInput('`currentPassword` is wrong.', 'currentPassword');
      });
      const passwordHash = await hashChosen(hasher, newPassword, { tenant, name, email }, 'newPassword');
      if (!(await passwords.replacePassword(userId, before, passwordHash)))
        throw new AppError('CONFLICT', 'The password was changed meanwhile.');
      await sessionsOf(tenant).removeAll(userId);
      return signIn({ tenant, email, password: newPassword }, ...request);
    },
  };
}
