import { isoTime, type Clock } from '../kernel/clock.ts';
import { AppError } from '../kernel/errors.ts';
import { newPasswordToken } from '../tenancy/password-token.ts';
import { newUserId } from '../tenancy/principal.ts';
import { PLATFORM } from '../tenancy/tenant-id.ts';
import { INVITATION_MS } from './administration.ts';
import type { UserAccount } from './model.ts';
import type { UserDirectory, UserSessions } from './ports.ts';

/**
 * A token with which an operator of the platform chooses a password; whoever is there already is not changed by it. Nobody can do this
 * over the API: only who runs the installation says who operates it.
 * @throws CONFLICT for an operator who is disabled.
 */
export async function inviteOperator(
  directory: UserDirectory,
  who: { readonly name: string; readonly email: string },
  clock: Clock,
): Promise<{ readonly id: string; readonly token: string; readonly expiresAt: string }> {
  const known = await directory.findByEmail(who.email);
  const id = known?.id ?? newUserId(clock.now());
  const { token, hash } = newPasswordToken(PLATFORM, id);
  const stored = { hash, expiresAt: clock.now() + INVITATION_MS };
  const operator = {
    ...who,
    tenantId: PLATFORM,
    id,
    roles: ['PLATFORM_OPERATOR'],
    status: 'INVITED',
    issuer: null,
  } as const;
  const done = known
    ? await directory.setToken(id, stored)
    : await directory.invite({ ...operator, createdAt: isoTime(clock.now()) }, stored);
  if (!done) throw new AppError('CONFLICT', 'This operator is disabled, or is being invited by somebody else.');
  return { id, token, expiresAt: isoTime(stored.expiresAt) };
}

export interface Operators {
  readonly directory: UserDirectory;
  readonly sessions: UserSessions;
}

/**
 * Ends the sessions of an operator and keeps them from signing in, or lets them sign in again. It holds within 30 s.
 * @throws NOT_FOUND
 */
export async function enableOperator(
  { directory, sessions }: Operators,
  email: string,
  enabled: boolean,
): Promise<UserAccount> {
  const known = await directory.findByEmail(email);
  const operator = known
    ? await directory.change(known.id, ({ roles }) => ({ roles, status: enabled ? 'ACTIVE' : 'DISABLED' }))
    : 'ABSENT';
  if (operator === 'ABSENT') throw new AppError('NOT_FOUND', 'There is no operator with this address.');
  if (operator === 'LAST_ADMIN') throw new Error('An operator administers no tenant.');
  if (!enabled) await sessions.removeAll(operator.id);
  return operator;
}
