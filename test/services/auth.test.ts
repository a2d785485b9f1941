import { describe, expect, it } from 'vitest';
import type { Account, RefreshSession } from '../../src/auth/model.ts';
import type { AccessTokens } from '../../src/auth/ports.ts';
import { createAuthService } from '../../src/auth/service.ts';
import { isoTime } from '../../src/kernel/clock.ts';
import type { Role } from '../../src/tenancy/principal.ts';
import { newUserId } from '../../src/tenancy/principal.ts';
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
  const auth = createAuthService({
    accountsOf: (home) => ({
      findByEmail: (email) => Promise.resolve(accounts[home]?.find((account) => account.email === email) ?? null),
      get: (userId) => Promise.resolve(accounts[home]?.find((account) => account.userId === userId) ?? null),
    }),
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
      removeAll: () => Promise.reject(new Error('not used')),
      remove(userId, sessionId) {
        sessions.delete(nameOf(home, userId, sessionId));
        return Promise.resolve();
      },
      accountOf: () => Promise.reject(new Error('not used')),
    }),
    hasher: {
      hash: (password) => Promise.resolve(`hash of ${password}`),
      verify(password, hash) {
        verified.push({ password, hash });
        return Promise.resolve(hash === `hash of ${password}`);
      },
    },
    tokens,
    meter: {
      recordSignIn(tenant, signIn) {
        meters.push({ tenant, ...signIn });
        return Promise.resolve();
      },
    },
    clock,
    refreshTtlMs: 30 * DAY,
  });
  const signIn = () => auth.signIn({ tenant: 'acme', email: mia.email, password: 'mia-password' });
  return { auth, clock, mia, olga, accounts, sessions, verified, meters, signIn };
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
    const { auth, signIn, sessions } = open();
    const first = await signIn();
    const other = await signIn();
    const second = await auth.refresh(first.refreshToken);
    await expect(auth.refresh(first.refreshToken)).rejects.toMatchObject(unauthenticated);
    await expect(auth.refresh(second.refreshToken)).rejects.toMatchObject(unauthenticated);
    expect(sessions.size).toBe(1);
    await expect(auth.refresh(other.refreshToken)).resolves.toBeDefined();
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
