import { isoTime, type Clock } from '../kernel/clock.ts';
import { AppError, badInput } from '../kernel/errors.ts';
import { pageRequest, type Page, type PageArguments } from '../kernel/page.ts';
import { checkEmail, checkName } from '../tenancy/names.ts';
import { newPasswordToken } from '../tenancy/password-token.ts';
import { isUserId, newUserId, type Role } from '../tenancy/principal.ts';
import type { TenantScope } from '../tenancy/scope.ts';
import type { Standing, UserAccount } from './model.ts';
import type { UserDirectory, UserSessions } from './ports.ts';

const DAY_MS = 86_400_000;
/** How long the token of an invitation may be used, and that of a reset. */
export const INVITATION_MS = 7 * DAY_MS;
export const RESET_MS = DAY_MS;

/** Roles that a tenant's administrator gives to people. Operators are of the platform, and partners are keys. */
const GIVEN: readonly Role[] = ['TENANT_ADMIN', 'MEMBER'];

/** A token as it is handed out: shown once, and stored as a hash. */
export interface HandedToken {
  readonly user: UserAccount;
  readonly token: string;
  readonly expiresAt: string;
}

/** The users of one tenant, as its administrators and acting operators administer them. */
export interface UserAdministration {
  list(page: PageArguments): Promise<Page<UserAccount>>;
  /**
   * A user who may choose a password with the token. Inviting again replaces the token, the name and the roles.
   * @throws BAD_USER_INPUT; CONFLICT where the address is that of a user who has accepted, or was disabled.
   */
  invite(input: {
    readonly email: string;
    readonly name: string;
    readonly roles: readonly Role[];
  }): Promise<HandedToken>;
  /** A token with which the user chooses a new password; until then the old one counts. @throws NOT_FOUND; CONFLICT for a disabled user. */
  resetPassword(userId: string): Promise<HandedToken>;
  /** Holds within 30 s for whoever is signed in. @throws BAD_USER_INPUT, NOT_FOUND; CONFLICT for the last administrator. */
  setRoles(input: { readonly userId: string; readonly roles: readonly Role[] }): Promise<UserAccount>;
  /** Ends the user's sessions, and keeps them from signing in. @throws NOT_FOUND; CONFLICT for the last administrator. */
  disable(userId: string): Promise<UserAccount>;
  /** @throws NOT_FOUND */
  enable(userId: string): Promise<UserAccount>;
}

export interface UserAdministrationDependencies {
  readonly scope: TenantScope;
  readonly directory: UserDirectory;
  readonly sessions: UserSessions;
  readonly clock: Clock;
}

const ofIssuer = (): AppError =>
  new AppError(
    'CONFLICT',
    'This user comes with the tokens of an issuer, which says who they are and what they may do.',
  );

const userNotFound = (): AppError => new AppError('NOT_FOUND', 'There is no such user.');

function checkRoles(roles: readonly Role[]): readonly Role[] {
  if (roles.length === 0 || roles.some((role) => !GIVEN.includes(role)))
    throw badInput(`A user's roles are one or both of ${GIVEN.join(' and ')}.`, 'roles');
  return GIVEN.filter((role) => roles.includes(role));
}

export function createUserAdministration(deps: UserAdministrationDependencies): UserAdministration {
  const { scope, directory, sessions, clock } = deps;
  const { tenantId } = scope;

  async function change(userId: string, next: (user: UserAccount) => Standing): Promise<UserAccount> {
    const result = isUserId(userId) ? await directory.change(userId, next) : 'ABSENT';
    if (result === 'ABSENT') throw userNotFound();
    if (result === 'LAST_ADMIN') throw new AppError('CONFLICT', 'A tenant keeps at least one active administrator.');
    return result;
  }

  function newToken(userId: string, validMs: number) {
    const { token, hash } = newPasswordToken(tenantId, userId);
    const expiresAt = clock.now() + validMs;
    return { stored: { hash, expiresAt }, handed: { token, expiresAt: isoTime(expiresAt) } };
  }

  /** Somebody who has the address already is invited again, if all they have is an invitation. */
  async function inviteAgain(email: string, name: string, roles: readonly Role[]): Promise<HandedToken> {
    const known = await directory.findByEmail(email);
    if (known?.status !== 'INVITED') throw new AppError('CONFLICT', 'A user of this tenant has this address.');
    await change(known.id, ({ status }) => ({ roles, status }));
    const { stored, handed } = newToken(known.id, INVITATION_MS);
    const user = await directory.setToken(known.id, stored, name);
    if (!user) throw userNotFound();
    return { user, ...handed };
  }

  return {
    list: async (page) => directory.page(pageRequest(page)),

    async invite(input) {
      const [email, name, roles] = [checkEmail(input.email), checkName(input.name), checkRoles(input.roles)];
      const id = newUserId(clock.now());
      const { stored, handed } = newToken(id, INVITATION_MS);
      const since = { status: 'INVITED', issuer: null, createdAt: isoTime(clock.now()) } as const;
      const user = { tenantId, id, name, email, roles, ...since };
      return (await directory.invite(user, stored)) ? { user, ...handed } : inviteAgain(email, name, roles);
    },

    async resetPassword(userId) {
      const known = isUserId(userId) ? await directory.get(userId) : null;
      if (!known) throw userNotFound();
      if (known.issuer !== null) throw ofIssuer();
      const { stored, handed } = newToken(userId, known.status === 'INVITED' ? INVITATION_MS : RESET_MS);
      const user = await directory.setToken(userId, stored);
      if (!user) throw new AppError('CONFLICT', 'This user is disabled: enable them first.');
      return { user, ...handed };
    },

    async setRoles({ userId, roles }) {
      const checked = checkRoles(roles);
      return change(userId, ({ status, issuer }) => {
        if (issuer !== null) throw ofIssuer();
        return { roles: checked, status };
      });
    },

    async disable(userId) {
      const user = await change(userId, ({ roles }) => ({ roles, status: 'DISABLED' }));
      await sessions.removeAll(userId);
      return user;
    },

    enable: (userId) =>
      change(userId, ({ roles, status }) => ({ roles, status: status === 'DISABLED' ? 'ACTIVE' : status })),
  };
}
