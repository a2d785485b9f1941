import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createMemoryAttemptCounters } from '../../src/adapters/memory/attempt-counters.ts';
import { countRefusals, FAILURES_MAX } from '../../src/auth/attempts.ts';
import { createExternalAuthentication, FEDERATION_CACHE_MS } from '../../src/federation/authentication.ts';
import type { IssuerInput } from '../../src/federation/input.ts';
import { createIssuerService } from '../../src/federation/service.ts';
import { isUserId } from '../../src/tenancy/principal.ts';
import type { TenantId } from '../../src/tenancy/tenant-id.ts';
import { createMovableClock, openEmbeddedStorage, type Storage } from '../support/dynamodb-storage.ts';

let storage: Storage;
beforeAll(async () => {
  storage = await openEmbeddedStorage();
});
afterAll(() => storage.close());

const unauthenticated = { code: 'UNAUTHENTICATED' };
const origin = { ipAddress: '192.0.2.1', userAgent: null };
let issuers = 0;

/** Tenants with an issuer of the test's own; a token is its claims in JSON, and verified when they say who issued it. */
function open() {
  const clock = createMovableClock();
  const tenantId = storage.tenant();
  const issuer = `https://issuer-${issuers++}.example`;
  const state = {
    open: true,
    requests: 0,
    metered: [] as string[],
    logged: [] as string[],
    metering: () => Promise.resolve(),
  };

  /** A process of the installation. */
  function instance() {
    const db = storage.connect({ clock, onRequest: ({ phase }) => void (phase === 'sent' && state.requests++) });
    const issuersOf = (id: TenantId) => db.forTenant(id).issuers;
    const external = createExternalAuthentication({
      tokens: {
        issuerOf: (token) => (JSON.parse(token) as { iss: string }).iss,
        verify: (token) =>
          Promise.resolve({
            claims: JSON.parse(token) as object as Record<string, unknown>,
            expiresAt: clock.now() + 3_600_000,
          }),
      },
      ...{ directory: db.issuers, issuersOf, clock, isOpen: () => Promise.resolve(state.open) },
      usersOf: (id) => db.forTenant(id).externalUsers,
      refused: countRefusals(createMemoryAttemptCounters(), 'issuer'),
      meter: { recordSignIn: (_tenant, { id }) => state.metering().then(() => void state.metered.push(id)) },
      log: { signedIn: ({ signInId }) => state.logged.push(signInId) },
    });
    const settings = (id: TenantId) =>
      createIssuerService({
        ...{ tenantId: id, issuersOf, directory: db.issuers, ownIssuer: 'ours', changed: external.changed },
        check: { faultOf: () => Promise.resolve(null) },
      });
    return { db, external, settings };
  }

  const input: IssuerInput = { issuer, audiences: ['app'], defaultRole: 'MEMBER' };
  const token = (more: object = {}) => JSON.stringify({ iss: issuer, sub: 'eva', aud: 'app', auth_time: 1, ...more });
  return { clock, tenantId, issuer, state, instance, input, token };
}

describe('an external user', () => {
  it('has one id in a tenant, whatever instance they come to, and another one elsewhere', async () => {
    const { tenantId, instance, input, token, state } = open();
    const [one, other] = [instance(), instance()];
    await one.settings(tenantId).set({ issuers: [input] });
    const both = await Promise.all([one.external.verify(token(), origin), other.external.verify(token(), origin)]);
    expect(isUserId(both[0].userId)).toBe(true);
    expect(both[0]).toMatchObject({ tenantId, roles: ['MEMBER'], name: 'eva', email: null });
    expect(both[1].userId).toBe(both[0].userId);
    expect(new Set(state.metered).size).toBe(1); // the same id is the same sign-in
    expect(state.logged).toEqual([state.metered[0]]);
  });

  it('of an issuer that tenants share is somebody else in each of them', async () => {
    const { tenantId, instance, input, token } = open();
    const { external, settings } = instance();
    const [first, second] = [tenantId, storage.tenant()];
    for (const id of [first, second])
      await settings(id).set({ issuers: [{ ...input, tenantClaim: { name: 'org', value: id } }] });
    const [one, other] = await Promise.all([first, second].map((org) => external.verify(token({ org }), origin)));
    expect([one?.tenantId, other?.tenantId]).toEqual([first, second]);
    expect(one?.userId).not.toBe(other?.userId);
  });

  it('costs nothing of the store for 25 s, however many requests they send', async () => {
    const { tenantId, instance, input, token, state } = open();
    const { external, settings } = instance();
    await settings(tenantId).set({ issuers: [input] });
    await external.verify(token(), origin);
    const before = state.requests;
    for (let n = 0; n < 50; n++) {
      const principal = await external.verify(token({ jti: n }), origin);
      if (principal.credential.kind === 'EXTERNAL') await external.rolesNow(principal, principal.credential);
    }
    expect(state.requests).toBe(before);
  });

  it('is told by what their latest token says of them, and keeps what it leaves out', async () => {
    const { clock, tenantId, instance, input, token } = open();
    const { external, settings, db } = instance();
    await settings(tenantId).set({ issuers: [input] });
    await external.verify(token({ email: 'eva@x.example', name: 'Eva' }), origin);
    clock.move(FEDERATION_CACHE_MS);
    expect(await external.verify(token(), origin)).toMatchObject({ name: 'Eva', email: 'eva@x.example' });
    await external.verify(token({ name: 'Eva M.' }), origin);
    const { nodes } = await db.forTenant(tenantId).userDirectory.page({ direction: 'forward', size: 10, cursor: null });
    expect(nodes).toMatchObject([{ name: 'Eva M.', email: 'eva@x.example', status: 'ACTIVE' }]);
  });

  it('who is disabled, or not known any more, is out after 25 s, whatever was asked about them in between', async () => {
    const { clock, tenantId, instance, input, token } = open();
    const [{ external, settings }, other] = [instance(), instance()];
    await settings(tenantId).set({ issuers: [input] });
    const principal = await external.verify(token(), origin);
    const { credential, userId } = principal;
    if (credential.kind !== 'EXTERNAL') throw new Error('another kind');
    const { userDirectory } = other.db.forTenant(tenantId);
    await userDirectory.change(userId, ({ roles }) => ({ roles, status: 'DISABLED' }));
    clock.move(FEDERATION_CACHE_MS - 1_000);
    await external.verify(token(), origin);
    expect(await external.rolesNow(principal, credential)).toEqual(['MEMBER']);
    clock.move(1_000);
    expect(await external.rolesNow(principal, credential)).toBeNull();
    await userDirectory.change(userId, ({ roles }) => ({ roles, status: 'ACTIVE' }));
    clock.move(FEDERATION_CACHE_MS);
    expect(await external.rolesNow(principal, credential)).toEqual(['MEMBER']);
    const rows = (await storage.rowsOf(tenantId)).filter(({ PK }) => PK.endsWith(`#U#${userId}`));
    await storage.tamper('app', { put: [], remove: rows });
    clock.move(FEDERATION_CACHE_MS);
    expect(await external.rolesNow(principal, credential)).toBeNull();
  });

  it('whose sign-in could not be counted is counted with the next request, once', async () => {
    const { tenantId, instance, input, token, state } = open();
    const { external, settings } = instance();
    await settings(tenantId).set({ issuers: [input] });
    state.metering = () => Promise.reject(new Error('the store is away'));
    await expect(external.verify(token(), origin)).rejects.toThrow('away');
    state.metering = () => Promise.resolve();
    const { credential } = await instance().external.verify(token(), origin);
    await instance().external.verify(token(), origin);
    expect(state.metered).toEqual(['sessionId' in credential && credential.sessionId]);
    expect(state.logged).toEqual(state.metered);
  });

  it('is nobody in a tenant that is being removed', async () => {
    const { tenantId, instance, input, token, state } = open();
    const { external, settings } = instance();
    await settings(tenantId).set({ issuers: [input] });
    state.open = false;
    await expect(external.verify(token(), origin)).rejects.toMatchObject(unauthenticated);
  });

  it('is no operator and no partner, whatever is stored', async () => {
    const { tenantId, instance, input, token, issuer } = open();
    const { external, settings, db } = instance();
    const { issuers: stored } = await settings(tenantId).set({ issuers: [input] });
    const roles = (['PLATFORM_OPERATOR', 'PARTNER'] as const).map((role) => ({ value: 'x', role }));
    await db.forTenant(tenantId).issuers.replace({ issuers: stored.map((each) => ({ ...each, roles })), version: 2 });
    const elsewhere = instance().external;
    await expect(elsewhere.verify(token({ 'cognito:groups': ['x'] }), origin)).rejects.toMatchObject(unauthenticated);
    expect(await external.verify(token(), origin)).toMatchObject({ roles: ['MEMBER'] });
    expect(stored).toMatchObject([{ issuer }]);
  });

  it('of an administrator’s group is not the last administrator: the tenant keeps one of its own', async () => {
    const { clock, tenantId, instance, input, token } = open();
    const { external, settings, db } = instance();
    await settings(tenantId).set({ issuers: [{ ...input, defaultRole: 'TENANT_ADMIN' }] });
    const { userId } = await external.verify(token(), origin);
    const { users, userDirectory } = db.forTenant(tenantId);
    const ada = { id: 'user-01ARZ3NDEKTSV4RRFFQ69G5FAV', name: 'Ada', email: 'ada@x.example', passwordHash: 'h' };
    await users.ensureAdministrator(ada, clock.now());
    const set = (id: string, status: 'ACTIVE' | 'DISABLED') =>
      userDirectory.change(id, ({ roles }) => ({ roles, status }));
    await set(userId, 'DISABLED');
    expect(await set(userId, 'ACTIVE')).toMatchObject({ status: 'ACTIVE', roles: ['TENANT_ADMIN'] });
    expect(await set(ada.id, 'DISABLED')).toBe('LAST_ADMIN');
  });
});

describe('whose an issuer is', () => {
  it('says the tenant: an entry of the directory alone lets nobody in, and does not keep the issuer from others', async () => {
    const { tenantId, instance, input, token } = open();
    const { external, settings, db } = instance();
    const crashed = storage.tenant();
    await db.issuers.enter(crashed, { issuer: input.issuer, tenantClaim: null });
    await expect(external.verify(token(), origin)).rejects.toMatchObject(unauthenticated);
    await settings(tenantId).set({ issuers: [input] });
    expect(await external.verify(token(), origin)).toMatchObject({ tenantId });
    await expect(settings(crashed).set({ issuers: [input] })).rejects.toMatchObject({ code: 'CONFLICT' });
  });

  it('is one tenant’s, of many that want it at once', async () => {
    const { instance, input, token } = open();
    const tenants = Array.from({ length: 6 }, () => storage.tenant());
    const { external, settings, db } = instance();
    await Promise.allSettled(tenants.map((id) => settings(id).set({ issuers: [input] })));
    const { tenantId } = await instance().external.verify(token(), origin);
    expect(await db.issuers.tenantOf(input.issuer, null)).toBe(tenantId);
    expect((await external.verify(token(), origin)).tenantId).toBe(tenantId);
  });

  it('of two changes of a tenant at once one is CONFLICT, and what it took is free', async () => {
    const { tenantId, instance, input, token } = open();
    const other = open();
    const { settings } = instance();
    const service = settings(tenantId);
    const outcomes = await Promise.allSettled([
      service.set({ issuers: [input] }),
      service.set({ issuers: [other.input] }),
    ]);
    expect(outcomes.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected']);
    const lost = outcomes[0].status === 'rejected' ? input : other.input;
    const third = storage.tenant();
    await settings(third).set({ issuers: [lost] });
    const lostToken = lost === input ? token() : other.token();
    expect(await instance().external.verify(lostToken, origin)).toMatchObject({ tenantId: third });
  });

  it('holds within 25 s on every other instance', async () => {
    const { clock, tenantId, instance, input, token } = open();
    const [one, other] = [instance(), instance()];
    await one.settings(tenantId).set({ issuers: [input] });
    const principal = await other.external.verify(token(), origin);
    await one.settings(tenantId).set({ issuers: [] });
    await expect(one.external.verify(token(), origin)).rejects.toMatchObject(unauthenticated);
    clock.move(FEDERATION_CACHE_MS);
    await expect(other.external.verify(token(), origin)).rejects.toMatchObject(unauthenticated);
    if (principal.credential.kind !== 'EXTERNAL') throw new Error('another kind');
    expect(await other.external.rolesNow(principal, principal.credential)).toBeNull();
  });

  it('of the claims that decide counts for whoever is connected too', async () => {
    const { tenantId, instance, input, token } = open();
    const { external, settings } = instance();
    const roles = [{ value: 'admins', role: 'TENANT_ADMIN' } as const];
    await settings(tenantId).set({ issuers: [{ ...input, roles, rolesClaim: 'groups' }] });
    const principal = await external.verify(token({ groups: 'admins' }), origin);
    const { credential } = principal;
    if (credential.kind !== 'EXTERNAL') throw new Error('another kind');
    const rolesNow = () => external.rolesNow(principal, credential);
    expect(await rolesNow()).toEqual(['TENANT_ADMIN']);
    await settings(tenantId).set({ issuers: [{ ...input, roles, rolesClaim: 'cognito:groups' }] });
    expect(await rolesNow()).toBeNull();
    await settings(tenantId).set({ issuers: [{ ...input, roles, rolesClaim: 'groups', userClaim: 'oid' }] });
    expect(await rolesNow()).toBeNull();
  });

  it('is looked up once in 25 s, whatever number of tokens names an issuer that nobody has', async () => {
    const { instance, token, state } = open();
    const { external } = instance();
    for (let n = 0; n < 20; n++) await expect(external.verify(token(), origin)).rejects.toMatchObject(unauthenticated);
    expect(state.requests).toBe(1);
  });

  it('is told by the tenant’s own value of the claim: the one before counts no more, also for whoever is connected', async () => {
    const { clock, tenantId, instance, input, token } = open();
    const { external, settings, db } = instance();
    const named = (value: string) => [{ ...input, tenantClaim: { name: 'org', value } }];
    await settings(tenantId).set({ issuers: named('before') });
    const principal = await external.verify(token({ org: 'before' }), origin);
    await settings(tenantId).set({ issuers: named('after') });
    if (principal.credential.kind !== 'EXTERNAL') throw new Error('another kind');
    expect(await external.rolesNow(principal, principal.credential)).toBeNull();
    await db.issuers.enter(tenantId, { issuer: input.issuer, tenantClaim: { name: 'org', value: 'before' } });
    clock.move(FEDERATION_CACHE_MS); // what a crash would have left behind
    await expect(external.verify(token({ org: 'before' }), origin)).rejects.toMatchObject(unauthenticated);
    await expect(external.verify(token({ org: 'after' }), origin)).resolves.toMatchObject({ tenantId });
  });

  it('is asked a hundred times from one address where nobody has it; then it waits, unless its issuer is somebody’s', async () => {
    const { clock, tenantId, instance, input, token, state } = open();
    const { external, settings } = instance();
    await settings(tenantId).set({ issuers: [input] });
    await external.verify(token(), origin);
    const strange = (n: number, ipAddress = origin.ipAddress) =>
      external.verify(token({ iss: `https://nobody-${n}.example` }), { ...origin, ipAddress });
    for (let n = 0; n < FAILURES_MAX.issuer; n++) await expect(strange(n)).rejects.toMatchObject(unauthenticated);
    const before = state.requests;
    const limited = { code: 'RATE_LIMITED', details: { retryAfterMs: expect.any(Number) as number } };
    await expect(strange(1_000)).rejects.toMatchObject(limited);
    expect(state.requests).toBe(before);
    clock.move(FEDERATION_CACHE_MS);
    await expect(external.verify(token(), origin)).resolves.toMatchObject({ tenantId });
    await expect(strange(1_001, '192.0.2.2')).rejects.toMatchObject(unauthenticated);
  });
});
