import { describe, expect, it } from 'vitest';
import { createMemoryAttemptCounters } from '../../src/adapters/memory/attempt-counters.ts';
import { createAttemptLimiter } from '../../src/auth/attempts.ts';
import type { Account, RefreshSession } from '../../src/auth/model.ts';
import type { AccessTokens, AuthLog } from '../../src/auth/ports.ts';
import { createPasswordCheck } from '../../src/auth/password-check.ts';
import { createAuthService } from '../../src/auth/service.ts';
import { createSessions } from '../../src/auth/sessions.ts';
import { isoTime } from '../../src/kernel/clock.ts';
import type { TenantId } from '../../src/tenancy/tenant-id.ts';
import { newUserId, signInOf, type Role } from '../../src/tenancy/principal.ts';
import { createTestClock } from '../support/clock.ts';

const DAY = 86_400_000;
const NOW = Date.parse('2026-11-20T12:00:00.000Z');
const ACCESS_MS = 900_000;

const anAccount = (name: string, role: Role): Account => ({
  userId: newUserId(NOW),
  name,
  email: `${name}@x.example`,
  roles: [role],
  passwordHash: `hash of ${name}-password`,
});

/** The service with one user in `acme` and one operator, and everything around it in lists. */
function open() {
  const clock = createTestClock(NOW);
  const mia = anAccount('mia', 'MEMBER');
  const olga = anAccount('olga', 'PLATFORM_OPERATOR');
  const accounts: Record<string, Account[]> = { acme: [mia], platform: [olga] };
  const sessions = new Map<string, RefreshSession>();
  const verified: { password: string; hash: string }[] = [];
  const reused: Parameters<AuthLog['refreshTokenReused']>[0][] = [];
  const closed = new Set<string>();
  const meters: { tenant: string; userId: string; latencyMs: number }[] = [];
  const nameOf = (home: string, userId: string, sessionId: string) => `${home} ${userId} ${sessionId}`;
  const tokens: AccessTokens = {
    issue: ({ userId, name, email, roles, tenantId, sessionId }) =>
      Promise.resolve({
        token: `access ${sessionId} ${clock.now()}`,
        principal: {
          ...{ userId, name, email, roles, tenantId, expiresAt: clock.now() + ACCESS_MS },
          credential: { kind: 'SESSION', sessionId },
        },
      }),
    verify: () => Promise.reject(new Error('not used')),
  };
  const find = (home: TenantId, userId: string) => accounts[home]?.find((account) => account.userId === userId) ?? null;
  const isOpen = (home: TenantId) => Promise.resolve(!closed.has(home));
  const attempts = createAttemptLimiter(createMemoryAttemptCounters());
  const checkPassword = createPasswordCheck({
    accountsOf: (home) => ({
      findByEmail: (email) => Promise.resolve(accounts[home]?.find((account) => account.email === email) ?? null),
      get: (userId) => Promise.resolve(find(home, userId)),
    }),
    hasher: {
      hash: (password) => Promise.resolve(`hash of ${password}`),
      verify(password, hash) {
        verified.push({ password, hash });
        return Promise.resolve(hash === `hash of ${password}`);
      },
    },
    ...{ isOpen, attempts, clock },
  });
  const begun = createSessions({
    sessionsOf: (home) => ({
      create(session) {
        sessions.set(nameOf(home, session.userId, session.sessionId), session);
        return Promise.resolve();
      },
      rotate(session, presented) {
        const name = nameOf(home, session.userId, session.sessionId);
        const current = sessions.get(name);
        if (!current || current.expiresAt <= clock.now() || current.familyHash !== session.familyHash)
          return Promise.resolve('UNKNOWN');
        if (current.secretHash !== presented) return Promise.resolve('REUSED');
        sessions.set(name, session);
        return Promise.resolve('ROTATED');
      },
      removeAll(userId) {
        for (const [name, session] of sessions) if (session.userId === userId) sessions.delete(name);
        return Promise.resolve();
      },
      remove(userId, sessionId) {
        sessions.delete(nameOf(home, userId, sessionId));
        return Promise.resolve();
      },
      accountOf: (userId, sessionId) =>
        Promise.resolve(sessions.has(nameOf(home, userId, sessionId)) ? find(home, userId) : null),
    }),
    ...{ isOpen, tokens, clock },
    log: { refreshTokenReused: (session) => reused.push(session) },
    meter: {
      recordSignIn(tenant, signIn) {
        meters.push({ tenant, ...signIn });
        return Promise.resolve();
      },
    },
    refreshTtlMs: 30 * DAY,
  });
  const service = createAuthService({ checkPassword, sessions: begun, attempts, clock });
  const from = (ipAddress: string) => ({ ipAddress, userAgent: 'a test' });
  const auth = {
    ...service,
    signIn: (input: Parameters<typeof service.signIn>[0], address = '192.0.2.1') =>
      service.signIn(input, from(address)),
    refresh: (refreshToken: string, address = '192.0.2.1') => service.refresh(refreshToken, from(address)),
  };
  const signIn = () => auth.signIn({ tenant: 'acme', email: mia.email, password: 'mia-password' });
  return { auth, reused, closed, clock, mia, olga, accounts, sessions, verified, meters, signIn };
}

const unauthenticated = { code: 'UNAUTHENTICATED' };

describe('signing in', () => {
  it('gives a session of the account, whose secret is stored as a hash only', async () => {
    const { auth, mia, sessions, meters, clock } = open();
    const session = await auth.signIn({ tenant: 'acme', email: mia.email, password: 'mia-password' });
    expect(session.principal).toMatchObject({ userId: mia.userId, tenantId: 'acme', roles: ['MEMBER'] });
    expect(session.accessTokenExpiresAt).toBe(isoTime(clock.now() + ACCESS_MS));
    const [stored] = [...sessions.values()];
    expect(stored).toMatchObject({ userId: mia.userId, expiresAt: NOW + 30 * DAY });
    for (const secret of session.refreshToken.split('.').slice(-2)) {
      expect(Buffer.from(secret, 'base64url')).toHaveLength(32);
      expect(JSON.stringify(stored)).not.toContain(secret);
    }
    const signIn = { id: stored?.sessionId, userId: mia.userId, identityProvider: 'PASSWORD', latencyMs: 0 };
    expect(meters).toEqual([{ tenant: 'acme', ...signIn }]);
  });

  it('an operator signs in at the platform, belongs to no tenant, and is nobody’s usage', async () => {
    const { auth, olga, meters } = open();
    const { principal } = await auth.signIn({ tenant: 'platform', email: olga.email, password: 'olga-password' });
    expect(principal).toMatchObject({ userId: olga.userId, tenantId: null, roles: ['PLATFORM_OPERATOR'] });
    expect(meters).toEqual([]);
  });

  it.each([
    ['a wrong password', { password: 'wrong' }],
    ['an empty password', { password: '' }],
    ['an unknown address', { email: 'nobody@x.example' }],
    ['an address of another home', { email: 'olga@x.example', password: 'olga-password' }],
    ['an unknown tenant', { tenant: 'globex' }],
    ['an impossible tenant', { tenant: 'No Tenant#' }],
    ['the platform, for a member', { tenant: 'platform' }],
    ['a password of 1,025 characters', { password: 'x'.repeat(1025) }],
    ['a password of a million characters', { password: 'x'.repeat(1_000_000) }],
  ])('with %s: the same refusal, after exactly one password was verified', async (_name, wrong) => {
    const { auth, mia, sessions, verified, meters } = open();
    const attempt = auth.signIn({ tenant: 'acme', email: mia.email, password: 'mia-password', ...wrong });
    await expect(attempt).rejects.toMatchObject({
      ...unauthenticated,
      message: 'The tenant, the e-mail address or the password is wrong.',
      details: {},
    });
    expect(verified).toHaveLength(1);
    expect(verified[0]!.hash).toMatch(/^hash of /);
    expect(verified[0]!.password.length).toBeLessThanOrEqual(1024);
    expect([sessions.size, meters.length]).toEqual([0, 0]);
  });

  it.each([
    [
      'disabled',
      ({ accounts, mia }: ReturnType<typeof open>) => void (accounts['acme'] = [{ ...mia, disabled: true }]),
    ],
    ['of a tenant that is being removed', ({ closed }: ReturnType<typeof open>) => void closed.add('acme')],
  ])('with the right password of a user %s: the same refusal, as late', async (_what, change) => {
    const opened = open();
    change(opened);
    await expect(opened.signIn()).rejects.toMatchObject({
      ...unauthenticated,
      message: 'The tenant, the e-mail address or the password is wrong.',
    });
    expect([opened.verified.length, opened.sessions.size, opened.meters.length]).toEqual([1, 0, 0]);
  });

  it('a right password also costs exactly one verification', async () => {
    const { signIn, verified } = open();
    await signIn();
    expect(verified).toHaveLength(1);
  });

  it('the decoy of a missing account is a hash nobody knows the password of, and cannot be signed in with', async () => {
    const { auth, verified } = open();
    await auth.signIn({ tenant: 'acme', email: 'nobody', password: 'x' }).catch(() => undefined);
    const guess = verified[0]!.hash.slice('hash of '.length);
    await expect(auth.signIn({ tenant: 'acme', email: 'nobody', password: guess })).rejects.toMatchObject(
      unauthenticated,
    );
  });
});

describe('refreshing', () => {
  it('gives a new pair for the account as it is now, and extends the session', async () => {
    const { auth, accounts, mia, clock, signIn, sessions } = open();
    const first = await signIn();
    await clock.advance(29 * DAY);
    accounts['acme'] = [{ ...mia, roles: ['TENANT_ADMIN'], name: 'Mia M.' }];
    const second = await auth.refresh(first.refreshToken);
    expect(second.principal).toMatchObject({ roles: ['TENANT_ADMIN'], name: 'Mia M.' });
    expect(second.refreshToken).not.toBe(first.refreshToken);
    expect([...sessions.values()]).toMatchObject([{ expiresAt: clock.now() + 30 * DAY }]);
    await clock.advance(29 * DAY);
    await expect(auth.refresh(second.refreshToken)).resolves.toBeDefined();
  });

  it('a token used a second time is refused and ends its session, for its rightful holder too', async () => {
    const { auth, reused, mia, signIn, sessions } = open();
    const first = await signIn();
    const other = await signIn();
    const second = await auth.refresh(first.refreshToken);
    await expect(auth.refresh(first.refreshToken)).rejects.toMatchObject(unauthenticated);
    await expect(auth.refresh(second.refreshToken)).rejects.toMatchObject(unauthenticated);
    expect(sessions.size).toBe(1);
    await expect(auth.refresh(other.refreshToken)).resolves.toBeDefined();
    const sessionId = signInOf(first.principal);
    const origin = { ipAddress: '192.0.2.1', userAgent: 'a test' };
    expect(reused).toEqual([{ home: 'acme', userId: mia.userId, sessionId, origin }]);
  });

  it('is refused for a disabled user, and in a tenant that is being removed; the session is not used up by that', async () => {
    const { auth, accounts, closed, mia, signIn } = open();
    const { refreshToken } = await signIn();
    accounts['acme'] = [{ ...mia, disabled: true }];
    await expect(auth.refresh(refreshToken)).rejects.toMatchObject(unauthenticated);
    accounts['acme'] = [mia];
    closed.add('acme');
    await expect(auth.refresh(refreshToken)).rejects.toMatchObject(unauthenticated);
    closed.clear();
    await expect(auth.refresh(refreshToken)).resolves.toBeDefined();
  });

  it('of two at the same time one is served at most', async () => {
    const { auth, signIn } = open();
    const { refreshToken } = await signIn();
    const results = await Promise.allSettled([auth.refresh(refreshToken), auth.refresh(refreshToken)]);
    expect(results.filter(({ status }) => status === 'fulfilled').length).toBeLessThanOrEqual(1);
  });

  it('after its time, or after its user is gone, it is refused', async () => {
    const { auth, accounts, clock, signIn } = open();
    const [expired, orphan] = [await signIn(), await signIn()];
    accounts['acme'] = [];
    await expect(auth.refresh(orphan.refreshToken)).rejects.toMatchObject(unauthenticated);
    await clock.advance(30 * DAY);
    await expect(auth.refresh(expired.refreshToken)).rejects.toMatchObject(unauthenticated);
  });

  it('a token that names another tenant, user or session, or is garbage, is refused and harms nobody', async () => {
    const { auth, signIn, sessions } = open();
    const { refreshToken } = await signIn();
    const [rt, home, user, session, family, secret] = refreshToken.split('.') as [string, ...string[]];
    const last = session!.at(-1)!;
    const altered = [
      [rt, 'globex', user, session, family, secret],
      [rt, 'platform', user, session, family, secret],
      [rt, home, newUserId(1), session, family, secret],
      [rt, home, user, session!.slice(0, -1) + (last === '0' ? '1' : '0'), family, secret],
      [rt, home, user, session, 'A'.repeat(43), secret],
      [rt, home, user, session, secret, secret],
      [rt, home, user, session, 'A'.repeat(43), 'A'.repeat(43)],
      [rt, home, user, session, family, secret!.slice(1)],
      [rt, home, user, session, family],
      [rt, home, `${user}#x`, session, family, secret],
      [rt, `${home}#x`, user, session, family, secret],
      [rt, home, user, session, family, `${secret}\n`],
      ['', home, user, session, family, secret],
    ].map((parts) => parts.join('.'));
    for (const token of [...altered, '', 'garbage', refreshToken.repeat(1000), ` ${refreshToken}`])
      await expect(auth.refresh(token), token.slice(0, 80)).rejects.toMatchObject(unauthenticated);
    expect(sessions.size).toBe(1);
    await expect(auth.refresh(refreshToken)).resolves.toBeDefined();
  });
});

describe('signing out', () => {
  it('ends the session: its token is good for nothing any more', async () => {
    const { auth, signIn, sessions } = open();
    const [leaving, staying] = [await signIn(), await signIn()];
    await auth.signOut(leaving.refreshToken);
    await auth.signOut(leaving.refreshToken);
    expect(sessions.size).toBe(1);
    await expect(auth.refresh(leaving.refreshToken)).rejects.toMatchObject(unauthenticated);
    await expect(auth.refresh(staying.refreshToken)).resolves.toBeDefined();
  });

  it('needs a token of the session: a made-up one ends nothing, one that was replaced still does', async () => {
    const { auth, signIn, sessions } = open();
    const first = await signIn();
    const second = await auth.refresh(first.refreshToken);
    const [rt, home, user, session, , secret] = second.refreshToken.split('.') as [string, ...string[]];
    const madeUp = [rt, home, user, session, 'A'.repeat(43), secret].join('.');
    for (const token of [madeUp, 'garbage', '']) await auth.signOut(token);
    expect(sessions.size).toBe(1);
    await auth.signOut(first.refreshToken);
    expect(sessions.size).toBe(0);
  });
});

describe('signing out everywhere', () => {
  it('ends every session of the user, and nobody else’s', async () => {
    const { auth, olga, signIn, sessions } = open();
    const [phone, laptop] = [await signIn(), await signIn()];
    const other = await auth.signIn({ tenant: 'platform', email: olga.email, password: 'olga-password' });
    await auth.signOutEverywhere(phone.refreshToken);
    for (const { refreshToken } of [phone, laptop])
      await expect(auth.refresh(refreshToken)).rejects.toMatchObject(unauthenticated);
    expect(sessions.size).toBe(1);
    await expect(auth.refresh(other.refreshToken)).resolves.toBeDefined();
  });

  it('needs a token of one of them: a made-up one ends nothing', async () => {
    const { auth, signIn, sessions } = open();
    const { refreshToken } = await signIn();
    const [rt, home, user, session, , secret] = refreshToken.split('.') as [string, ...string[]];
    for (const token of [[rt, home, user, session, 'A'.repeat(43), secret].join('.'), 'garbage', ''])
      await auth.signOutEverywhere(token);
    expect(sessions.size).toBe(1);
  });
});

describe('guessing', () => {
  const limited = { code: 'RATE_LIMITED', details: { retryAfterMs: expect.any(Number) as number } };
  const guess = ({ auth, mia }: ReturnType<typeof open>, address?: string, email = mia.email) =>
    auth.signIn({ tenant: 'acme', email, password: 'a guess' }, address);
  async function guessTimes(times: number, opened: ReturnType<typeof open>, address?: string, email?: string) {
    for (let n = 0; n < times; n++) await expect(guess(opened, address, email)).rejects.toMatchObject(unauthenticated);
  }
  const rightly = ({ auth, mia }: ReturnType<typeof open>, address?: string) =>
    auth.signIn({ tenant: 'acme', email: mia.email, password: 'mia-password' }, address);

  it('a password ends after ten from one address, before a password is verified or an account looked for', async () => {
    const opened = open();
    await guessTimes(10, opened);
    await expect(guess(opened)).rejects.toMatchObject(limited);
    await expect(rightly(opened)).rejects.toMatchObject(limited);
    expect(opened.verified).toHaveLength(10);
    await expect(guess(opened, undefined, 'MIA@x.example ')).rejects.toMatchObject(limited); // the same account
    await expect(rightly(opened, '192.0.2.2')).resolves.toBeDefined(); // whoever it is the password of is elsewhere
  });

  it('also of an account that does not exist: nothing is to be learned from it', async () => {
    const opened = open();
    await guessTimes(10, opened, undefined, 'nobody@x.example');
    await expect(guess(opened, undefined, 'nobody@x.example')).rejects.toMatchObject(limited);
  });

  it('is forgotten with the right password', async () => {
    const opened = open();
    for (let round = 0; round < 15; round++) {
      await guessTimes(9, opened);
      await rightly(opened);
    }
    expect(opened.sessions.size).toBe(15);
  });

  it('from many addresses ends after a hundred for those the account is not used from; its owner’s own still lets them in', async () => {
    const opened = open();
    await rightly(opened, '198.51.100.7');
    for (let n = 0; n < 10; n++) await guessTimes(10, opened, `203.0.113.${n}`);
    await expect(guess(opened, '203.0.113.99')).rejects.toMatchObject(limited);
    await expect(rightly(opened, '203.0.113.99')).rejects.toMatchObject(limited);
    await expect(rightly(opened, '198.51.100.7')).resolves.toBeDefined();
  });

  it('from one address, however long, does not use up the account for others', async () => {
    const opened = open();
    await guessTimes(10, opened, '203.0.113.1');
    for (let n = 0; n < 200; n++) await expect(guess(opened, '203.0.113.1')).rejects.toMatchObject(limited);
    await guessTimes(9, opened, '203.0.113.2');
    await expect(rightly(opened, '203.0.113.2')).resolves.toBeDefined();
  });

  it('at many accounts from one address ends after three hundred', async () => {
    const opened = open();
    for (let n = 0; n < 30; n++) await guessTimes(10, opened, '203.0.113.1', `user${n}@x.example`);
    await expect(guess(opened, '203.0.113.1', 'another@x.example')).rejects.toMatchObject(limited);
  });

  it('does not go on from another address of the same network of IPv6', async () => {
    const opened = open();
    for (let n = 0; n < 10; n++) await guessTimes(1, opened, `2001:db8:0:7::${n + 1}`);
    await expect(guess(opened, '2001:db8::7:1:2:3:4')).rejects.toMatchObject(limited);
    await expect(rightly(opened, '2001:db8:0:8::1')).resolves.toBeDefined();
  });

  it('a refresh token ends after a hundred from one address; nobody else’s is refused, and good ones do not count', async () => {
    const opened = open();
    const { auth } = opened;
    let { refreshToken } = await rightly(opened);
    for (let n = 0; n < 120; n++) ({ refreshToken } = await auth.refresh(refreshToken, '203.0.113.1'));
    for (let n = 0; n < 100; n++)
      await expect(auth.refresh('garbage', '203.0.113.1')).rejects.toMatchObject(unauthenticated);
    await expect(auth.refresh(refreshToken, '203.0.113.1')).rejects.toMatchObject(limited);
    await expect(auth.refresh(refreshToken, '203.0.113.2')).resolves.toBeDefined();
  });
});
