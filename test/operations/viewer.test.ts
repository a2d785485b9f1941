import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseTenantId } from '../../src/tenancy/tenant-id.ts';
import { UNLIMITED } from '../../src/tenants/model.ts';
import { newUserId } from '../../src/tenancy/principal.ts';
import { startOwnStorage } from '../support/own-storage.ts';
import { startWorld, type Caller, type World } from '../support/world.ts';

const VIEWER = `{ viewer { id name email roles tenant { id slug name status } } }`;

describe('viewer', () => {
  let storage: Awaited<ReturnType<typeof startOwnStorage>>;
  let world: World;
  beforeAll(async () => {
    storage = await startOwnStorage();
    world = await startWorld({ config: storage.config });
  });
  afterAll(async () => {
    await world.stop();
    await storage.close();
  });

  it('ok: everybody sees who they are and where they belong', async () => {
    const { acme, globex } = world;
    const seen = await Promise.all([acme.admin, acme.member, globex.member].map((caller) => caller.run(VIEWER)));
    expect(seen.map(({ data }) => data.viewer)).toEqual([
      {
        id: acme.admin.id,
        name: 'Acme Corporation Admin',
        email: 'admin@acme.example',
        roles: ['TENANT_ADMIN'],
        tenant: { id: 'acme', slug: 'acme', name: 'Acme Corporation', status: 'ACTIVE' },
      },
      {
        id: acme.member.id,
        name: 'Acme Corporation Member',
        email: 'member@acme.example',
        roles: ['MEMBER'],
        tenant: { id: 'acme', slug: 'acme', name: 'Acme Corporation', status: 'ACTIVE' },
      },
      {
        id: globex.member.id,
        name: 'Globex Energy Member',
        email: 'member@globex.example',
        roles: ['MEMBER'],
        tenant: { id: 'globex', slug: 'globex', name: 'Globex Energy', status: 'ACTIVE' },
      },
    ]);
  });

  it('ok: an operator belongs to no tenant, even while acting in one', async () => {
    for (const caller of [world.operator, world.operator.with({ 'x-tenant-id': 'acme' })]) {
      const { data } = await caller.run(VIEWER);
      expect(data.viewer).toMatchObject({ roles: ['PLATFORM_OPERATOR'], tenant: null });
    }
  });

  it('ok: somebody of a suspended tenant still sees who they are, and may do nothing else', async () => {
    const { db, hasher } = storage;
    const id = parseTenantId('initech')!;
    const at = new Date().toISOString();
    await db.tenants.create({
      ...{ id, name: 'Initech', status: 'SUSPENDED', agentIds: ['support'], knowledgeBaseIds: [], features: [] },
      ...{
        limits: UNLIMITED,
        conversationRetentionDays: null,
        alertPercentages: null,
        allowedOrigins: [],
        version: 1,
        createdAt: at,
        updatedAt: at,
      },
    });
    const email = 'admin@initech.example';
    const passwordHash = await hasher.hash(world.config.demoPassword);
    const account = {
      userId: newUserId(Date.now()),
      name: 'Admin',
      email,
      roles: ['TENANT_ADMIN'],
      passwordHash,
    } as const;
    await db.forTenant(id).users.register(account, Date.now());

    const admin = await world.signIn('initech', email);
    const { data } = await admin.run(VIEWER);
    expect(data.viewer.tenant).toMatchObject({ slug: 'initech', status: 'SUSPENDED' });

    for (const query of [
      '{ tenant { id } }',
      '{ agents { id } }',
      '{ conversations { nodes { id } } }',
      'mutation { createConversation(input: {}) { conversation { id } } }',
    ]) {
      const refused = await admin.run(query);
      expect([query, refused.code, refused.status]).toEqual([query, 'TENANT_SUSPENDED', 403]);
    }
    const operator = world.operator.with({ 'x-tenant-id': 'initech' });
    expect((await operator.run('{ tenant { id status } }')).data.tenant).toEqual({
      id: 'initech',
      status: 'SUSPENDED',
    });
  });

  it('ok: their own usage, and nobody else’s', async () => {
    const USAGE = `query($start: DateTime!, $end: DateTime!) {
      viewer { usage(start: $start, end: $end) { user { id } turns tokens { totalTokens } } }
    }`;
    const { admin, member } = world.acme;
    await admin.ask(await admin.createConversation(), '[[emulate inputTokens=70 outputTokens=7]] hello');
    await member.ask(await member.createConversation(), '[[emulate inputTokens=500 outputTokens=5]] hello');
    const period = { start: new Date(Date.now() - 3_600_000), end: new Date(Date.now() + 3_600_000) };
    const usageOf = async (caller: Caller) => (await caller.run(USAGE, period)).data.viewer.usage;
    expect(await usageOf(member)).toEqual({
      user: { id: world.acme.member.id },
      turns: 1,
      tokens: { totalTokens: 505 },
    });
    expect(await usageOf(admin)).toMatchObject({ turns: 1, tokens: { totalTokens: 77 } });
    expect(await usageOf(world.globex.member)).toMatchObject({ turns: 0, tokens: { totalTokens: 0 } });
  });

  it('UNAUTHENTICATED without a credential, and with one that is no token of ours', async () => {
    const { nobody, acme } = world;
    const altered = `${acme.member.token?.slice(0, -6)}AAAAAA`;
    for (const caller of [nobody, world.caller(''), world.caller('x'), world.caller(altered)]) {
      const { code, status, data } = await caller.run(VIEWER);
      expect([code, status, data]).toEqual(['UNAUTHENTICATED', 401, null]);
    }
    const basic = await nobody.with({ authorization: 'Basic YTpi' }).run(VIEWER);
    expect(basic.code).toBe('UNAUTHENTICATED');
  });
});
