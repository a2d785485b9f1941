import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createMemoryAttemptCounters } from '../../src/adapters/memory/attempt-counters.ts';
import { createAttemptLimiter, FAILURES_MAX } from '../../src/auth/attempts.ts';
import { createPasswordCheck } from '../../src/auth/password-check.ts';
import { createPasswordService } from '../../src/auth/password-service.ts';
import { createSessions } from '../../src/auth/sessions.ts';
import { AppError } from '../../src/kernel/errors.ts';
import { newPasswordToken } from '../../src/tenancy/password-token.ts';
import { newUserId } from '../../src/tenancy/principal.ts';
import { PLATFORM, type TenantId } from '../../src/tenancy/tenant-id.ts';
import { createUserAdministration } from '../../src/users/administration.ts';
import { enableOperator, inviteOperator } from '../../src/users/operators.ts';
import { principalOf } from '../support/bound-api.ts';
import { createMovableClock, openEmbeddedStorage, type Storage } from '../support/dynamodb-storage.ts';

const DAY = 86_400_000;
const PASSWORD = 'correct horse battery staple';
const OTHER = 'a stapled battery for horses';

let storage: Storage;
beforeAll(async () => {
  storage = await openEmbeddedStorage();
});
afterAll(() => storage.close());

const hasher = {
  hash: (password: string) => Promise.resolve(`hash of ${password}`),
  verify: (password: string, hash: string) => Promise.resolve(hash === `hash of ${password}`),
};

/** A tenant with one invited user. */
async function open() {
  const clock = createMovableClock();
  const db = storage.connect({ clock });
  const tenantId = storage.tenant();
  const { users, userDirectory, sessions } = db.forTenant(tenantId);
  const scope = { tenantId, principal: principalOf() };
  const administration = createUserAdministration({ scope, directory: userDirectory, sessions, clock });
  const accountsOf = (home: TenantId) => db.forTenant(home).users;
  const sessionsOf = (home: TenantId) => db.forTenant(home).sessions;
  const closed = new Set<TenantId>();
  const isOpen = (home: TenantId) => Promise.resolve(!closed.has(home));
  const attempts = createAttemptLimiter(createMemoryAttemptCounters());
  const metered: { readonly id: string; readonly userId: string }[] = [];
  const checkPassword = createPasswordCheck({ accountsOf, isOpen, hasher, attempts, clock });
  const begun = createSessions({
    ...{ sessionsOf, isOpen, clock, refreshTtlMs: DAY, log: { refreshTokenReused: () => {} } },
    tokens: {
      issue: ({ userId, roles, sessionId }) =>
        Promise.resolve({
          token: sessionId,
          principal: { ...principalOf(), userId, roles, expiresAt: clock.now() + DAY },
        }),
      verify: () => Promise.reject(new Error('not used')),
    },
    meter: { recordSignIn: (_tenant, signIn) => Promise.resolve(void metered.push(signIn)) },
  });
  const service = createPasswordService({
    passwordsOf: (home) => db.forTenant(home).passwords,
    ...{ sessionsOf, isOpen, checkPassword, sessions: begun, attempts, hasher, clock },
  });
  const origin = { ipAddress: '192.0.2.1', userAgent: null };
  const passwords = {
    accept: (input: Parameters<typeof service.accept>[0]) => service.accept(input, origin),
    change: (by: typeof own, input: Parameters<typeof service.change>[1]) => service.change(by, input, origin),
  };
  const { user, token } = await administration.invite({ email: 'mia@x.example', name: 'Mia', roles: ['MEMBER'] });
  /** Begins a session of the user; resolves with what says whether it still counts. */
  async function beginSession() {
    const account = (await users.get(user.id))!;
    const { accessToken: id } = await begun.begin({ home: tenantId, account }, clock.now());
    return async () => (await sessions.accountOf(user.id, id)) !== null;
  }
  const own = { tenantId, principal: { ...principalOf('MEMBER'), userId: user.id, name: 'Mia' } };
  const opened = { clock, db, tenantId, users, administration, passwords, metered, begun, checkPassword, origin };
  return { ...opened, sessions, user, token, beginSession, own, closed };
}

type Opened = Awaited<ReturnType<typeof open>>;

describe('choosing a password with a token', () => {
  it('signs in, once: of five at once one does', async () => {
    const { passwords, token, users, user, administration } = await open();
    const outcomes = await Promise.allSettled(
      Array.from({ length: 5 }, (_, n) => passwords.accept({ token, password: `${PASSWORD} ${n}` })),
    );
    const won = outcomes.findIndex(({ status }) => status === 'fulfilled');
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    expect((await users.get(user.id))?.passwordHash).toBe(`hash of ${PASSWORD} ${won}`);
    expect((await administration.list({})).nodes).toMatchObject([{ id: user.id, status: 'ACTIVE' }]);
    await expect(passwords.accept({ token, password: OTHER })).rejects.toMatchObject({ code: 'UNAUTHENTICATED' });
  });

  it('every token that is not good has the same answer: made up, used, replaced, expired, of somebody else, of a disabled user', async () => {
    const { passwords, token, clock, administration, user, tenantId } = await open();
    const stranger = await open();
    const secret = token.split('.').at(-1)!;
    const newer = await administration.invite({ email: user.email!, name: 'Mia', roles: ['MEMBER'] });
    const disabled = await administration.invite({ email: 'dan@x.example', name: 'Dan', roles: ['MEMBER'] });
    await administration.disable(disabled.user.id);
    const bad = [
      ...['', 'x', token, `${newer.token}x`, newer.token.slice(0, -1), disabled.token],
      ...[newPasswordToken(tenantId, user.id).token, newPasswordToken(tenantId, newUserId(0)).token],
      ...[`pt.${stranger.tenantId}.${user.id}.${secret}`, `pt.${tenantId}.${stranger.user.id}.${secret}`],
      newer.token.replace('pt.', 'rt.'),
    ];
    const said = new Set<string>();
    const refuse = async (each: string, password = PASSWORD) => {
      const error: unknown = await passwords.accept({ token: each, password }).catch((reason: unknown) => reason);
      expect(error).toMatchObject({ code: 'UNAUTHENTICATED' });
      said.add((error as Error).message);
    };
    for (const each of bad) await refuse(each);
    await refuse(newPasswordToken(tenantId, user.id).token, 'short'); // nobody learns that there is such a user
    clock.move(7 * DAY + 1_000);
    await refuse(newer.token);
    await refuse(newer.token, 'short');
    expect(said.size).toBe(1);
  });

  it('a password that is refused leaves the token good; one token for a reset ends what was open', async () => {
    const { passwords, token, administration, user, beginSession, users } = await open();
    for (const password of ['short', 'miamiamiamiamiamia'])
      await expect(passwords.accept({ token, password })).rejects.toMatchObject({
        code: 'BAD_USER_INPUT',
        details: { field: 'password' },
      });
    await passwords.accept({ token, password: PASSWORD });
    const isSignedIn = await beginSession();
    const reset = await administration.resetPassword(user.id);
    expect((await users.findByEmail(user.email!))?.passwordHash).toBe(`hash of ${PASSWORD}`);
    expect(await isSignedIn()).toBe(true);
    await passwords.accept({ token: reset.token, password: OTHER });
    expect(await isSignedIn()).toBe(false);
    expect((await users.findByEmail(user.email!))?.passwordHash).toBe(`hash of ${OTHER}`);
  });
});

it('a token lets nobody into a tenant that is being removed', async () => {
  const { passwords, token, tenantId, closed, users, user } = await open();
  closed.add(tenantId);
  await expect(passwords.accept({ token, password: PASSWORD })).rejects.toMatchObject({ code: 'UNAUTHENTICATED' });
  expect(await users.get(user.id)).toBeNull();
});

describe('an operator of the platform', () => {
  it('is invited from outside the API, and again: that is a reset', async () => {
    const { db, clock, passwords } = await open();
    const { users, userDirectory } = db.forTenant(PLATFORM);
    const who = { name: 'Olga', email: `olga-${newUserId(clock.now())}@x.example` };
    const first = await inviteOperator(userDirectory, who, clock);
    const second = await inviteOperator(userDirectory, who, clock);
    await expect(passwords.accept({ token: first.token, password: PASSWORD })).rejects.toMatchObject({
      code: 'UNAUTHENTICATED',
    });
    await passwords.accept({ token: second.token, password: PASSWORD });
    const account = await users.findByEmail(who.email);
    expect(account).toMatchObject({ roles: ['PLATFORM_OPERATOR'], passwordHash: `hash of ${PASSWORD}` });
    const third = await inviteOperator(userDirectory, { ...who, name: 'Another' }, clock);
    expect(third.token).toContain(account!.userId);
    expect((await users.get(account!.userId))?.name).toBe('Olga');
  });

  it('who is disabled has no session, no password and no token any more; enabled again, what was stays ended', async () => {
    const { db, clock, passwords, begun, checkPassword, origin } = await open();
    const { users, userDirectory: directory, sessions } = db.forTenant(PLATFORM);
    const who = { name: 'Olga', email: `olga-${newUserId(clock.now())}@x.example` };
    await passwords.accept({ token: (await inviteOperator(directory, who, clock)).token, password: PASSWORD });
    const account = (await users.findByEmail(who.email))!;
    const { accessToken: id } = await begun.begin({ home: PLATFORM, account }, clock.now());
    const isSignedIn = async () => (await sessions.accountOf(account.userId, id)) !== null;
    const { token } = await inviteOperator(directory, who, clock);
    const signIn = () => checkPassword({ tenant: PLATFORM, email: who.email, password: PASSWORD }, origin);
    expect([await isSignedIn(), (await signIn()).home]).toEqual([true, PLATFORM]);

    expect(await enableOperator({ directory, sessions }, who.email, false)).toMatchObject({ status: 'DISABLED' });
    expect(await isSignedIn()).toBe(false);
    const refused = { code: 'UNAUTHENTICATED' };
    await expect(signIn()).rejects.toMatchObject(refused);
    await expect(passwords.accept({ token, password: OTHER })).rejects.toMatchObject(refused);

    await enableOperator({ directory, sessions }, who.email, true);
    expect((await signIn()).account.userId).toBe(account.userId);
    expect(await isSignedIn()).toBe(false);
    await expect(passwords.accept({ token, password: OTHER })).rejects.toMatchObject(refused);
    await expect(enableOperator({ directory, sessions }, 'nobody@x.example', false)).rejects.toMatchObject({
      code: 'NOT_FOUND',
    });
  });
});

describe('changing one’s own password', () => {
  it('needs the one until now, ends every session, and takes back a token that is about', async () => {
    const { passwords, token, own, beginSession, administration, user, users } = await open();
    await passwords.accept({ token, password: PASSWORD });
    const isSignedIn = await beginSession();
    const wrong = { currentPassword: OTHER, newPassword: 'something entirely new' };
    await expect(passwords.change(own, wrong)).rejects.toMatchObject({
      code: 'BAD_USER_INPUT',
      details: { field: 'currentPassword' },
    });
    const weak = { currentPassword: PASSWORD, newPassword: 'short' };
    await expect(passwords.change(own, weak)).rejects.toMatchObject({
      code: 'BAD_USER_INPUT',
      details: { field: 'newPassword' },
    });
    expect(await isSignedIn()).toBe(true);
    const reset = await administration.resetPassword(user.id);
    await passwords.change(own, { currentPassword: PASSWORD, newPassword: OTHER });
    expect(await isSignedIn()).toBe(false);
    expect((await users.get(user.id))?.passwordHash).toBe(`hash of ${OTHER}`);
    await expect(passwords.accept({ token: reset.token, password: PASSWORD })).rejects.toMatchObject({
      code: 'UNAUTHENTICATED',
    });
  });

  it('of two changes at once one is CONFLICT', async () => {
    const { passwords, token, own } = await open();
    await passwords.accept({ token, password: PASSWORD });
    const outcomes = await Promise.allSettled(
      ['one new password', 'another new password'].map((newPassword) =>
        passwords.change(own, { currentPassword: PASSWORD, newPassword }),
      ),
    );
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    expect(outcomes.find((outcome) => outcome.status === 'rejected')?.reason).toBeInstanceOf(AppError);
  });

  it('and choosing one begin one session each, which counts at once, and are one sign-in each', async () => {
    const { passwords, token, own, metered, sessions, user } = await open();
    const chosen = await passwords.accept({ token, password: PASSWORD });
    const changed = await passwords.change(own, { currentPassword: PASSWORD, newPassword: OTHER });
    expect(metered).toMatchObject([chosen, changed].map(({ accessToken: id }) => ({ id, userId: user.id })));
    expect(await sessions.accountOf(user.id, chosen.accessToken)).toBeNull();
    expect(await sessions.accountOf(user.id, changed.accessToken)).toMatchObject({ userId: user.id });
  });

  it.each([
    [
      'it was changed',
      ({ passwords, own }: Opened) => passwords.change(own, { currentPassword: PASSWORD, newPassword: OTHER }),
    ],
    [
      'the user was disabled',
      async ({ administration, user }: Opened) => {
        await administration.disable(user.id);
        await administration.enable(user.id);
      },
    ],
  ])(
    'a sign-in that read the password before %s, and ended after, gives a session that counts for nothing',
    async (_what, act) => {
      const opened = await open();
      const { passwords, token, tenantId, user, checkPassword, begun, sessions, origin, clock } = opened;
      await passwords.accept({ token, password: PASSWORD });
      const known = await checkPassword({ tenant: tenantId, email: user.email!, password: PASSWORD }, origin);
      await act(opened);
      const late = await begun.begin(known, clock.now());
      expect(await sessions.accountOf(user.id, late.accessToken)).toBeNull();
      expect(await begun.renew(late.refreshToken, origin)).toBeNull();
    },
  );

  it('is RATE_LIMITED after ten wrong ones, the right one included', async () => {
    const { passwords, token, own } = await open();
    await passwords.accept({ token, password: PASSWORD });
    const change = (currentPassword: string) => passwords.change(own, { currentPassword, newPassword: OTHER });
    for (let n = 0; n < FAILURES_MAX.pair; n++)
      await expect(change('a guess')).rejects.toMatchObject({ code: 'BAD_USER_INPUT' });
    await expect(change(PASSWORD)).rejects.toMatchObject({ code: 'RATE_LIMITED' });
  });
});

it('tokens of invitations are RATE_LIMITED for an address after a hundred that were not good, good ones included', async () => {
  const { passwords, token } = await open();
  for (let n = 0; n < FAILURES_MAX.token; n++)
    await expect(passwords.accept({ token: 'garbage', password: PASSWORD })).rejects.toMatchObject({
      code: 'UNAUTHENTICATED',
    });
  const limited = { code: 'RATE_LIMITED', details: { retryAfterMs: expect.any(Number) as number } };
  await expect(passwords.accept({ token, password: PASSWORD })).rejects.toMatchObject(limited);
});
