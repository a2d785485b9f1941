import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createAgentCatalogue } from '../../src/agents/catalogue.ts';
import { hashChosen } from '../../src/auth/passwords.ts';
import { demoAgentDefinitions } from '../../src/local/demo-data.ts';
import type { Principal, Role } from '../../src/tenancy/principal.ts';
import type { TenantId } from '../../src/tenancy/tenant-id.ts';
import { createTenantConfiguration, type UpdateTenant } from '../../src/tenants/configuration.ts';
import { UNLIMITED, type Tenant } from '../../src/tenants/model.ts';
import { createPlatformService, type CreateTenant } from '../../src/tenants/platform.ts';
import { createMovableClock, openEmbeddedStorage, type Storage } from '../support/dynamodb-storage.ts';
import { principalOf } from '../support/bound-api.ts';
import type { LossyProxy } from '../support/lossy-proxy.ts';

const PASSWORD = 'correct horse battery staple';
const agents = createAgentCatalogue(demoAgentDefinitions);

let storage: Storage;
beforeAll(async () => {
  storage = await openEmbeddedStorage();
});
afterAll(() => storage.close());

/** Hashes that cost nothing, each with a salt of its own. */
let salt = 0;
const hasher = {
  hash: (password: string) => Promise.resolve(`salt${salt++}:${[...password].reverse().join('')}`),
  verify: (password: string, hash: string) => Promise.resolve(hash.endsWith(`:${[...password].reverse().join('')}`)),
};

function open(proxy?: LossyProxy) {
  const clock = createMovableClock();
  const db = storage.connect({ clock, ...(proxy && { proxy }) });
  const told: Tenant[] = [];
  const platform = createPlatformService({
    directory: db.tenants,
    agents,
    administrators: {
      hash: (password, who, tenant) => hashChosen(hasher, password, { ...who, tenant }, 'adminPassword'),
      verify: hasher.verify,
      ensure: (id, admin) => db.forTenant(id).users.ensureAdministrator(admin, clock.now()),
    },
    removals: db.removals,
    changed: (tenant) => told.push(tenant),
    clock,
  });
  const configuration = (tenantId: TenantId, role: Role = 'PLATFORM_OPERATOR') => {
    const principal: Principal = { ...principalOf(role), tenantId: role === 'PLATFORM_OPERATOR' ? null : tenantId };
    return createTenantConfiguration({
      scope: { tenantId, principal },
      directory: db.tenants,
      agents,
      changed: (tenant) => told.push(tenant),
      clock,
    });
  };
  return { clock, db, platform, told, configuration };
}

const anInput = (more: Partial<CreateTenant> = {}): CreateTenant => ({
  slug: storage.tenant(),
  name: 'Initech',
  adminEmail: 'Peter@Initech.example',
  adminPassword: PASSWORD,
  ...more,
});

describe('setting a tenant up', () => {
  it('gives it all agents and their knowledge bases, no limits, and an administrator who can sign in', async () => {
    const { platform, db, told } = open();
    const input = anInput();
    const { tenant, admin } = await platform.createTenant(input);
    expect(tenant).toMatchObject({
      ...{ id: input.slug, name: 'Initech', status: 'ACTIVE', agentIds: ['support', 'analyst'], version: 1 },
      ...{ knowledgeBaseIds: ['KBSUPPORT1', 'KBANALYST1'], limits: UNLIMITED, conversationRetentionDays: null },
    });
    expect(told).toEqual([tenant]);
    const email = 'peter@initech.example';
    expect(admin).toEqual({ id: admin.id, name: email, email });
    const account = await db.forTenant(tenant.id).users.findByEmail(email);
    expect(account).toMatchObject({ userId: admin.id, roles: ['TENANT_ADMIN'] });
    expect(await hasher.verify(PASSWORD, account!.passwordHash)).toBe(true);
  });

  it('the same input again, however the address is written, returns the same tenant as it is by now', async () => {
    const { platform, configuration } = open();
    const input = anInput({ limits: { tokensPerDay: 5 }, agentIds: ['analyst'] });
    const first = await platform.createTenant(input);
    expect(first.tenant.knowledgeBaseIds).toEqual(['KBANALYST1']);
    await configuration(first.tenant.id).update({ name: 'Initrode' });
    const again = await platform.createTenant({
      ...input,
      adminEmail: ' peter@initech.EXAMPLE',
      conversationRetentionDays: null,
    });
    expect(again.admin).toEqual(first.admin);
    expect(again.tenant).toMatchObject({ name: 'Initrode', createdAt: first.tenant.createdAt, version: 2 });
    expect(again.tenant.limits.tokensPerDay).toBe(5);
  });

  it('any other input for the slug is CONFLICT, another password too, and changes nothing', async () => {
    const { platform } = open();
    const input = anInput({ limits: { tokensPerDay: 5 } });
    const { tenant } = await platform.createTenant(input);
    const before = await storage.rowsOf(tenant.id);
    const others: Partial<CreateTenant>[] = [
      { name: 'Initrode' },
      { adminEmail: 'bill@initech.example' },
      { adminPassword: `${PASSWORD}!` },
      { adminName: 'Peter' },
      { agentIds: ['support', 'analyst'] },
      { knowledgeBaseIds: [] },
      { limits: { tokensPerDay: 6 } },
      { limits: null },
      { conversationRetentionDays: 30 },
    ];
    for (const other of others)
      await expect(platform.createTenant({ ...input, ...other })).rejects.toMatchObject({ code: 'CONFLICT' });
    expect(await storage.rowsOf(tenant.id)).toEqual(before);
  });

  it('neither the password nor anything it can be guessed from by a fast hash is stored', async () => {
    const { platform } = open();
    const { tenant } = await platform.createTenant(anInput());
    const rows = JSON.stringify(await storage.rowsOf(tenant.id));
    expect(rows).toContain('peter@initech.example');
    expect(rows).not.toContain(PASSWORD);
    const hashes = [...rows.matchAll(/"passwordHash":"([^"]*)"/g)].map(([, hash]) => hash);
    expect(hashes).toHaveLength(2);
    expect(new Set(hashes).size).toBe(1);
  });

  it('of six at once with the same input all get the same tenant and administrator; with other inputs one wins', async () => {
    const { platform, db } = open();
    const input = anInput();
    const all = await Promise.all(Array.from({ length: 6 }, () => platform.createTenant(input)));
    expect(new Set(all.map(({ admin }) => admin.id)).size).toBe(1);
    const { tenant, admin } = all[0]!;
    expect(await db.forTenant(tenant.id).users.findByEmail('peter@initech.example')).toMatchObject({
      userId: admin.id,
    });

    const slug = storage.tenant();
    const rivals = await Promise.allSettled(
      Array.from({ length: 5 }, (_, n) => platform.createTenant(anInput({ slug, name: `Rival ${n}` }))),
    );
    const won = rivals.filter((outcome) => outcome.status === 'fulfilled');
    expect(won).toHaveLength(1);
    expect((await db.tenants.get(slug))?.name).toBe(won[0]!.value.tenant.name);
  });

  it('a crash before any of its writes is mended by calling again', async () => {
    const proxy = await storage.proxy();
    for (let survives = 0; ; survives++) {
      let writes = 0;
      proxy.decide(({ operation }) =>
        /Put|Update|Delete/.test(operation) && writes++ >= survives ? 'refuse' : 'pass',
      );
      const input = anInput();
      const outcome = await open(proxy)
        .platform.createTenant(input)
        .catch(() => null);
      const { platform, db } = open();
      const { tenant, admin } = await platform.createTenant(input);
      expect((await db.forTenant(tenant.id).users.findByEmail(input.adminEmail))?.userId).toBe(admin.id);
      const ids = [];
      for await (const id of db.tenants.ids()) ids.push(id);
      expect(ids).toContain(tenant.id);
      if (outcome) {
        expect(survives).toBeGreaterThanOrEqual(5);
        return;
      }
    }
  });

  it('a slug whose tenant is gone is never used again', async () => {
    const { platform, db } = open();
    const input = anInput();
    await storage.putRaw({ PK: 'SYS#TENANTS', SK: input.slug, removedAt: '2026-11-20T12:00:00.000Z' });
    await expect(platform.createTenant(input)).rejects.toMatchObject({ code: 'CONFLICT' });
    expect(await storage.rowsOf(input.slug as TenantId)).toEqual([]);
    const ids = [];
    for await (const id of db.tenants.ids()) ids.push(id);
    expect(ids).not.toContain(input.slug);
  });

  const refused: string[] = [];
  it.each<[string, Partial<CreateTenant>]>([
    ['slug', { slug: 'platform' }],
    ['slug', { slug: 'Initech' }],
    ['slug', { slug: 'a#b' }],
    ['name', { name: '  ' }],
    ['name', { name: 'x'.repeat(201) }],
    ['adminEmail', { adminEmail: 'peter' }],
    ['adminEmail', { adminEmail: 'peter@localhost' }],
    ['adminEmail', { adminEmail: 'a@b.example, c@d.example' }],
    ['adminName', { adminName: '\u0007' }],
    ['adminPassword', { adminPassword: 'fourteen chars' }],
    ['adminPassword', { adminPassword: 'x'.repeat(1_025) }],
    ['adminPassword', { adminPassword: 'PasswordPassword1' }],
    ['adminPassword', { adminPassword: 'aaaaaaaaaaaaaaaaaaaa' }],
    ['adminPassword', { adminPassword: '1234567890987654321' }],
    ['adminPassword', { adminPassword: 'peter@initech.example' }],
    ['agentIds', { agentIds: ['support', 'oracle'] }],
    ['agentIds', { agentIds: ['support', 'support'] }],
    ['knowledgeBaseIds', { knowledgeBaseIds: ['not ten'] }],
    ['limits.requestsPerMinute', { limits: { requestsPerMinute: 0 } }],
    ['limits.concurrentGenerations', { limits: { concurrentGenerations: 0 } }],
    ['limits.tokensPerDay', { limits: { tokensPerDay: -1 } }],
    ['limits.tokensPerMonth', { limits: { tokensPerMonth: 1.5 } }],
    ['limits.tokensPerMonth', { limits: { tokensPerMonth: 1e300 } }],
    ['conversationRetentionDays', { conversationRetentionDays: 0 }],
    ['conversationRetentionDays', { conversationRetentionDays: 3_653 }],
  ])('BAD_USER_INPUT names the field: %s (%j)', async (field, wrong) => {
    const { platform } = open();
    const input = anInput(wrong);
    await expect(platform.createTenant(input)).rejects.toMatchObject({ code: 'BAD_USER_INPUT', details: { field } });
    if (input.slug.startsWith('t')) refused.push(input.slug);
  });

  it('and of what was refused nothing is stored', async () => {
    const rows = JSON.stringify(await storage.allRows());
    expect(refused.length).toBeGreaterThan(20);
    expect(refused.filter((slug) => rows.includes(slug))).toEqual([]);
  });
});

describe('changing a tenant', () => {
  const aTenant = async (more: Partial<CreateTenant> = {}) =>
    (await open().platform.createTenant(anInput(more))).tenant;

  it('what is left out stays, also inside limits; an explicit null limit is unlimited', async () => {
    const { configuration, told } = open();
    const before = await aTenant({ limits: { tokensPerDay: 5, tokensPerMonth: 50 }, conversationRetentionDays: 30 });
    const change: UpdateTenant = {
      limits: { tokensPerDay: null, requestsPerMinute: 7 },
      features: [{ name: 'beta', enabled: true }],
    };
    const after = await configuration(before.id).update(change);
    expect(after).toEqual({
      ...before,
      limits: { ...before.limits, tokensPerDay: null, requestsPerMinute: 7 },
      features: [{ name: 'beta', enabled: true }],
      updatedAt: expect.any(String),
      version: 2,
    });
    expect(told).toEqual([after]);
    const forEver = await configuration(before.id).update({ conversationRetentionDays: null });
    expect(forEver).toMatchObject({ conversationRetentionDays: null, limits: after.limits, version: 3 });
  });

  it('what changes nothing is no change', async () => {
    const { configuration } = open();
    const before = await aTenant();
    for (const change of [{}, { name: before.name }, { limits: {} }, { agentIds: before.agentIds }])
      expect(await configuration(before.id).update(change)).toEqual(before);
  });

  it('changes of different fields at once are all kept', async () => {
    const { configuration, db } = open();
    const { id } = await aTenant();
    const operator = configuration(id);
    const changes: UpdateTenant[] = [
      { name: 'Initrode' },
      { limits: { requestsPerMinute: 1 } },
      { limits: { concurrentGenerations: 2 } },
      { limits: { tokensPerDay: 3 } },
      { conversationRetentionDays: 4 },
      { agentIds: ['analyst'] },
      { features: [{ name: 'beta', enabled: false }] },
    ];
    await Promise.all(changes.map((change) => operator.update(change)));
    expect(await db.tenants.get(id)).toMatchObject({
      ...{ name: 'Initrode', conversationRetentionDays: 4, agentIds: ['analyst'], version: 1 + changes.length },
      ...{ limits: { requestsPerMinute: 1, concurrentGenerations: 2, tokensPerDay: 3, tokensPerMonth: null } },
      features: [{ name: 'beta', enabled: false }],
    });
  });

  it('of two who expect the same version one gets CONFLICT with the version there is', async () => {
    const { configuration, db } = open();
    const { id } = await aTenant();
    const operator = configuration(id);
    const outcomes = await Promise.allSettled(
      ['One', 'Two'].map((name) => operator.update({ name, expectedVersion: 1 })),
    );
    const [refused, ...others] = outcomes.filter((outcome) => outcome.status === 'rejected');
    expect(others).toEqual([]);
    expect(refused?.reason).toMatchObject({ code: 'CONFLICT', details: { currentVersion: 2 } });
    expect((await db.tenants.get(id))?.version).toBe(2);
  });

  it('an administrator changes name, features and retention; FORBIDDEN for what only operators may change, the same values too', async () => {
    const { configuration, db } = open();
    const before = await aTenant();
    const admin = configuration(before.id, 'TENANT_ADMIN');
    expect(await admin.update({ name: 'Initrode', features: [], conversationRetentionDays: 9 })).toMatchObject({
      version: 2,
    });
    const { agentIds, knowledgeBaseIds } = before;
    for (const change of [{ agentIds }, { knowledgeBaseIds }, { limits: {} }])
      await expect(admin.update({ ...change, name: 'No' })).rejects.toMatchObject({ code: 'FORBIDDEN' });
    expect(await db.tenants.get(before.id)).toMatchObject({ name: 'Initrode', version: 2 });
  });

  it.each<UpdateTenant>([
    { name: null },
    { agentIds: null },
    { knowledgeBaseIds: null },
    { limits: null },
    { features: null },
    { limits: { requestsPerMinute: 0 } },
    { features: [{ name: 'a b', enabled: true }] },
    {
      features: [
        { name: 'a', enabled: true },
        { name: 'a', enabled: false },
      ],
    },
    { conversationRetentionDays: -1 },
  ])('%j is BAD_USER_INPUT', async (change) => {
    const { configuration } = open();
    await expect(configuration(storage.tenant()).update(change)).rejects.toMatchObject({ code: 'BAD_USER_INPUT' });
  });

  it('a change whose answer was lost counts once', async () => {
    const proxy = await storage.proxy();
    const { id } = await aTenant();
    const lost = proxy.loseNext(({ operation }) => operation === 'UpdateItem');
    const after = await open(proxy).configuration(id).update({ name: 'Initrode', expectedVersion: 1 });
    expect([lost.happened(), after.name, after.version]).toEqual([true, 'Initrode', 2]);
  });
});

describe('the status of a tenant', () => {
  it('goes to and fro between ACTIVE and SUSPENDED, and to DELETING for good', async () => {
    const { platform, told } = open();
    const { id } = (await platform.createTenant(anInput())).tenant;
    for (const status of ['SUSPENDED', 'ACTIVE', 'SUSPENDED', 'DELETING', 'DELETING'] as const)
      expect(await platform.setStatus(id, status)).toMatchObject({ id, status });
    for (const status of ['ACTIVE', 'SUSPENDED'] as const)
      await expect(platform.setStatus(id, status)).rejects.toMatchObject({ code: 'CONFLICT' });
    expect(told.map(({ version }) => version)).toEqual([1, 2, 3, 4, 5, 5]);
  });

  it('is DELETING only once its removal is entered, so that it is carried out whoever dies', async () => {
    const proxy = await storage.proxy();
    const { platform } = open(proxy);
    const { id } = (await platform.createTenant(anInput())).tenant;
    expect(await platform.removal(id)).toBeNull();
    proxy.decide(({ operation }) => (operation === 'UpdateItem' ? 'refuse' : 'pass'));
    await expect(platform.setStatus(id, 'DELETING')).rejects.toThrow();
    proxy.decide(null);
    expect(await platform.removal(id)).toMatchObject({ tenantId: id, phase: 'WAITING', rowsRemoved: 0, doneAt: null });
    await platform.setStatus(id, 'DELETING');
    expect(await platform.removal('no tenant')).toBeNull();
  });

  it('nobody is set up in a tenant that is being removed, or is gone, also by the same input again', async () => {
    const { platform, db } = open();
    const input = anInput();
    const { id } = (await platform.createTenant(input)).tenant;
    await platform.setStatus(id, 'DELETING');
    for (const row of await storage.rowsOf(id))
      if (row.SK !== 'CFG') await storage.tamper('app', { put: [], remove: [row] });
    await expect(platform.createTenant(input)).rejects.toMatchObject({ code: 'CONFLICT' });
    expect((await storage.rowsOf(id)).map(({ SK }) => SK)).toEqual(['CFG']);
    await db.tenants.leave(id, '2026-11-20T12:00:00.000Z');
    await db.tenants.forget(id);
    await expect(platform.createTenant(input)).rejects.toMatchObject({ code: 'CONFLICT' });
    expect(await storage.rowsOf(id)).toEqual([]);
    await expect(platform.setStatus(id, 'DELETING')).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });

  it('NOT_FOUND for a tenant that is not there, or that no tenant can be', async () => {
    for (const id of [storage.tenant(), 'platform', 'A#B', ''])
      await expect(open().platform.setStatus(id, 'SUSPENDED')).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });
});

describe('the list of tenants', () => {
  it('is read to its end in pages, each tenant once and none that is gone, with two calls a page', async () => {
    const calls: string[] = [];
    const db = storage.connect({ onRequest: ({ operation, phase }) => phase === 'sent' && calls.push(operation) });
    const ids: string[] = [];
    for await (const id of db.tenants.ids()) ids.push(id);
    expect(ids.length).toBeGreaterThan(10);
    calls.length = 0;
    const seen: string[] = [];
    let pages = 0;
    for (let cursor: string | null = null, more = true; more; pages++) {
      const page = await db.tenants.page({ direction: 'forward', size: 5, cursor });
      expect(page.pageInfo.hasPreviousPage).toBe(cursor !== null);
      seen.push(...page.nodes.map(({ id }) => id));
      cursor = page.pageInfo.endCursor;
      more = page.pageInfo.hasNextPage;
    }
    expect(seen).toEqual(ids);
    expect(seen).toEqual([...new Set(seen)].sort());
    expect(calls.filter((name) => name.startsWith('BatchGet'))).toHaveLength(pages);
    // One more for each page that passes over the entry of the tenant that is gone: two, where it lies between them.
    expect(calls.length).toBeLessThanOrEqual(2 * pages + 2);
  });
});
