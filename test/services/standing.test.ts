import { describe, expect, it } from 'vitest';
import { createStanding, remembered, sessionRoles, STANDING_CACHE_MS } from '../../src/auth/standing.ts';
import { createRecentReads } from '../../src/kernel/recent-reads.ts';
import type { Principal, Role } from '../../src/tenancy/principal.ts';
import { principalOf } from '../support/bound-api.ts';
import { createTestClock } from '../support/clock.ts';

const refused = { code: 'UNAUTHENTICATED', message: 'The access token is not valid, or has expired.' };

function open() {
  const clock = createTestClock();
  const state = { roles: ['MEMBER'] as readonly Role[] | null, reads: 0, failing: false };
  const standing = createStanding({
    rolesNow: {
      SESSION: remembered(() => {
        state.reads++;
        return state.failing ? Promise.reject(new Error('the store is away')) : Promise.resolve(state.roles);
      }, clock),
      API_KEY: () => Promise.resolve(null),
      EXTERNAL: () => Promise.resolve(null),
    },
    clock,
  });
  return { clock, state, standing };
}
const member = principalOf('MEMBER');
const ofSession = (sessionId: string): Principal => ({ ...member, credential: { kind: 'SESSION', sessionId } });

describe('the standing of a credential', () => {
  it('is looked up once in 25 s, for all who ask', async () => {
    const { clock, state, standing } = open();
    await Promise.all(Array.from({ length: 20 }, () => standing.check(member)));
    await clock.advance(STANDING_CACHE_MS - 1);
    await standing.check(member);
    expect(state.reads).toBe(1);
    await clock.advance(1);
    await standing.check(member);
    expect(state.reads).toBe(2);
  });

  it('is each one’s own: of another session, user or tenant nothing is known from it', async () => {
    const { state, standing } = open();
    await standing.check(member);
    state.roles = null;
    for (const other of [ofSession('other'), { ...member, userId: 'other' }, { ...member, tenantId: null }])
      await expect(standing.check(other)).rejects.toMatchObject(refused);
    await standing.check(member);
  });

  it.each([
    ['withdrawn', null],
    ['without roles', []],
    ['of another role', ['TENANT_ADMIN']],
    ['of one role more', ['MEMBER', 'TENANT_ADMIN']],
  ] as const)('%s: refused at most 25 s later, and never before it is looked up', async (_what, roles) => {
    const { clock, state, standing } = open();
    await standing.check(member);
    state.roles = roles;
    await standing.check(member);
    await clock.advance(STANDING_CACHE_MS);
    await expect(standing.check(member)).rejects.toMatchObject(refused);
  });

  it('ends with its time, to the millisecond, without a look', async () => {
    const { clock, state, standing } = open();
    const principal = { ...member, expiresAt: clock.now() + 1_000 };
    await clock.advance(999);
    await standing.check(principal);
    await clock.advance(1);
    await expect(standing.check(principal)).rejects.toMatchObject(refused);
    expect(state.reads).toBe(1);
  });

  it('a look that failed is no answer, neither yes nor no: it is told, and the next one looks again', async () => {
    const { state, standing } = open();
    state.failing = true;
    await expect(standing.check(member)).rejects.toThrow('the store is away');
    state.failing = false;
    await standing.check(member);
    expect(state.reads).toBe(2);
  });
});

it('a session gives the roles of its account; none once the account is disabled, or either is gone', async () => {
  const account = { userId: member.userId, name: '', email: '', roles: ['MEMBER'], passwordHash: '' } as const;
  const asked: unknown[] = [];
  const rolesOf = (found: typeof account | (typeof account & { disabled: true }) | null, principal = member) =>
    sessionRoles((home) => ({
      accountOf(...ids) {
        asked.push([home, ...ids]);
        return Promise.resolve(found);
      },
    }))(principal, { kind: 'SESSION', sessionId: 's' });
  expect(await rolesOf(account)).toEqual(['MEMBER']);
  expect(await rolesOf({ ...account, disabled: true })).toBeNull();
  expect(await rolesOf(null, { ...member, tenantId: null })).toBeNull();
  expect(asked).toEqual([
    ['acme', member.userId, 's'],
    ['acme', member.userId, 's'],
    ['platform', member.userId, 's'],
  ]);
});

describe('recent reads', () => {
  it('forget what is old, and never remember more than they may', async () => {
    const clock = createTestClock();
    const recent = createRecentReads<number, number>({ clock, maxAgeMs: 1_000, keysMax: 3 });
    let reads = 0;
    const get = (key: number) => recent.get(key, () => Promise.resolve(++reads));
    for (const key of [1, 2, 3, 4, 5]) await get(key);
    expect(recent.count()).toBe(3);
    expect([await get(5), await get(4), await get(3)]).toEqual([5, 4, 3]);
    expect(await get(1)).toBe(6); // the oldest was forgotten
    recent.put(3, 33);
    expect(await get(3)).toBe(33);
    await clock.advance(1_000);
    await get(9);
    expect(recent.count()).toBe(1);
  });
});
