import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseTenantId, PLATFORM, type TenantId } from '../../src/tenancy/tenant-id.ts';
import { actingIn, expectTenantNeeded } from '../support/refusals.ts';
import { startWorld, type World } from '../support/world.ts';

const GLOBEX = parseTenantId('globex')!;

/** One world for all of them, in this order: each leaves it as the next one needs it. */
let world: World;
beforeAll(async () => {
  world = await startWorld();
});
afterAll(() => world.stop());

describe('tenants', () => {
  const LIST = `query($first: Int, $after: String) {
    tenants(first: $first, after: $after) { edges { cursor node { id } } nodes { id name status } pageInfo { hasNextPage hasPreviousPage endCursor } }
  }`;

  it('ok: pages in alphabetical order; an operator needs to name no tenant', async () => {
    const { operator } = world;
    const first = (await operator.run(LIST, { first: 1 })).data.tenants;
    expect(first.nodes).toEqual([{ id: 'acme', name: 'Acme Corporation', status: 'ACTIVE' }]);
    expect(first.pageInfo).toEqual({ hasNextPage: true, hasPreviousPage: false, endCursor: first.edges[0].cursor });
    const second = (await operator.run(LIST, { first: 1, after: first.pageInfo.endCursor })).data.tenants;
    expect(second.nodes).toEqual([{ id: 'globex', name: 'Globex Energy', status: 'ACTIVE' }]);
    expect(second.pageInfo).toMatchObject({ hasNextPage: false, hasPreviousPage: true });
  });

  it('BAD_USER_INPUT for a page out of bounds, and for a cursor of another list', async () => {
    const { operator, acme } = world;
    for (const first of [0, 101]) expect((await operator.run(LIST, { first })).code).toBe('BAD_USER_INPUT');
    await acme.member.createConversation();
    const { data } = await acme.member.run('{ conversations { edges { cursor } } }');
    const foreign = await operator.run(LIST, { after: data.conversations.edges[0].cursor });
    expect(foreign.errors[0]?.extensions).toMatchObject({ code: 'BAD_USER_INPUT', field: 'after' });
    const altered = Buffer.from('globex').toString('base64url');
    expect((await operator.run(LIST, { after: `${altered}.AAAAAAAAAAAAAAAAAAAAAA` })).code).toBe('BAD_USER_INPUT');
  });

  it('FORBIDDEN for the people of a tenant, UNAUTHENTICATED for nobody', async () => {
    expect((await world.acme.admin.run(LIST)).code).toBe('FORBIDDEN');
    expect((await world.nobody.run(LIST)).code).toBe('UNAUTHENTICATED');
  });
});

describe('updateTenant', () => {
  const UPDATE = `mutation($input: UpdateTenantInput!) {
    updateTenant(input: $input) { tenant { id name version agents { id } limits { requestsPerMinute tokensPerDay } features { name enabled } } }
  }`;

  it('ok: an administrator changes the name; the next request of anybody there sees it', async () => {
    const { admin, member } = world.acme;
    const { data } = await admin.run(UPDATE, { input: { name: 'Acme Inc.', expectedVersion: 1 } });
    expect(data.updateTenant.tenant).toMatchObject({ id: 'acme', name: 'Acme Inc.', version: 2 });
    expect((await member.run('{ tenant { name version } viewer { tenant { name } } }')).data).toEqual({
      tenant: { name: 'Acme Inc.', version: 2 },
      viewer: { tenant: { name: 'Acme Inc.' } },
    });
    expect((await world.globex.member.run('{ tenant { name } }')).data.tenant.name).toBe('Globex Energy');
  });

  it('ok: an operator changes agents and limits, and they hold at once', async () => {
    const input = { agentIds: ['analyst'], limits: { requestsPerMinute: 2 } };
    const { data } = await actingIn(world, 'globex').run(UPDATE, { input });
    expect(data.updateTenant.tenant).toMatchObject({
      agents: [{ id: 'analyst' }],
      limits: { requestsPerMinute: 2, tokensPerDay: null },
    });
    const codes = [];
    for (let n = 0; n < 3; n++) codes.push((await world.globex.member.run('{ agents { id } }')).code);
    expect(codes).toEqual([undefined, undefined, 'RATE_LIMITED']);
    await actingIn(world, 'globex').run(UPDATE, { input: { limits: { requestsPerMinute: null } } });
    expect((await world.globex.member.run('{ agents { id } }')).data.agents).toEqual([{ id: 'analyst' }]);
  });

  it('CONFLICT with the version there is', async () => {
    const { errors } = await world.acme.admin.run(UPDATE, { input: { name: 'Late', expectedVersion: 1 } });
    expect(errors[0]?.extensions).toMatchObject({ code: 'CONFLICT', currentVersion: 2 });
  });

  it('FORBIDDEN for a member, and for an administrator who sends what is the operators’', async () => {
    expect((await world.acme.member.run(UPDATE, { input: { name: 'Mine' } })).code).toBe('FORBIDDEN');
    for (const input of [{ agentIds: ['support'] }, { knowledgeBaseIds: [] }, { limits: { tokensPerDay: null } }])
      expect((await world.acme.admin.run(UPDATE, { input })).code).toBe('FORBIDDEN');
  });

  it('UNAUTHENTICATED, TENANT_REQUIRED, TENANT_INVALID and FORBIDDEN for those without a tenant', async () => {
    const asAdmin = { ...world, acme: { admin: world.acme.admin, member: world.acme.admin } };
    await expectTenantNeeded(asAdmin, UPDATE, { input: {} });
  });
});

describe('createTenant', () => {
  const CREATE = `mutation($input: CreateTenantInput!) {
    createTenant(input: $input) {
      tenant { id slug name status version agents { id } knowledgeBaseIds conversationRetentionDays limits { tokensPerDay tokensPerMonth } }
      admin { id name email }
    }
  }`;
  const SIGN_IN = `mutation($input: SignInInput!) { signIn(input: $input) { accessToken viewer { id roles tenant { id } } } }`;
  const LIST = `query($first: Int, $after: String) {
    tenants(first: $first, after: $after) { edges { cursor node { id } } nodes { id name status } pageInfo { hasNextPage endCursor } }
  }`;
  const SET_STATUS = `mutation($id: ID!, $status: TenantStatus!) { setTenantStatus(tenantId: $id, status: $status) { tenant { id status version } } }`;
  const password = 'correct horse battery staple';
  const input = {
    slug: 'initech',
    name: 'Initech',
    adminEmail: 'peter@initech.example',
    adminPassword: password,
    limits: { tokensPerDay: 1000 },
  };

  it('FORBIDDEN for everybody but operators, in a tenant or out of it; UNAUTHENTICATED for nobody', async () => {
    const { acme, nobody } = world;
    const cases = [
      [CREATE, { input }],
      [LIST, {}],
      [SET_STATUS, { id: 'acme', status: 'SUSPENDED' }],
    ] as const;
    for (const [query, variables] of cases) {
      expect((await acme.admin.run(query, variables)).code).toBe('FORBIDDEN');
      expect((await acme.member.run(query, variables)).code).toBe('FORBIDDEN');
      expect((await nobody.run(query, variables)).code).toBe('UNAUTHENTICATED');
    }
    expect((await acme.member.run('{ tenant { status } }')).data.tenant.status).toBe('ACTIVE');
  });

  it('ok: the first administrator signs in, works, and is the only one there', async () => {
    const { data } = await world.operator.run(CREATE, { input });
    expect(data.createTenant.tenant).toEqual({
      ...{
        id: 'initech',
        slug: 'initech',
        name: 'Initech',
        status: 'ACTIVE',
        version: 1,
        conversationRetentionDays: null,
      },
      ...{ agents: [{ id: 'support' }, { id: 'analyst' }], knowledgeBaseIds: ['KBSUPPORT1', 'KBANALYST1'] },
      limits: { tokensPerDay: 1000, tokensPerMonth: null },
    });
    expect((await world.operator.run(CREATE, { input })).data).toEqual(data);

    const signedIn = await world.nobody.run(SIGN_IN, {
      input: { tenant: 'initech', email: 'peter@initech.example', password },
    });
    const { accessToken, viewer } = signedIn.data.signIn;
    expect(viewer).toEqual({ id: data.createTenant.admin.id, roles: ['TENANT_ADMIN'], tenant: { id: 'initech' } });
    const peter = world.caller(accessToken);
    const answer = await peter.ask(await peter.createConversation(), 'How do I return an order?');
    expect(answer.data.sendMessage.assistantMessage.status).toBe('COMPLETED');
    expect((await peter.run('{ conversations { nodes { id } } }')).data.conversations.nodes).toHaveLength(1);
  });

  it('CONFLICT for the slug of another tenant, CONFLICT for other input, BAD_USER_INPUT with the field', async () => {
    const { operator } = world;
    expect((await operator.run(CREATE, { input: { ...input, slug: 'acme' } })).code).toBe('CONFLICT');
    expect((await operator.run(CREATE, { input: { ...input, adminPassword: 'another long password' } })).code).toBe(
      'CONFLICT',
    );
    const weak = await operator.run(CREATE, { input: { ...input, slug: 'hooli', adminPassword: 'short' } });
    expect(weak.errors[0]?.extensions).toMatchObject({ code: 'BAD_USER_INPUT', field: 'adminPassword' });
    expect(JSON.stringify(weak)).not.toContain('short"');
  });
});

describe('setTenantStatus', () => {
  const SET_STATUS = `mutation($id: ID!, $status: TenantStatus!) { setTenantStatus(tenantId: $id, status: $status) { tenant { id status } } }`;
  const RENAME = `mutation { updateTenant(input: { name: "Renamed" }) { tenant { name status } } }`;

  const set = (id: string, status: string) => world.operator.run(SET_STATUS, { id, status });

  it('ok: suspended, a tenant does nothing but `viewer` and keeps what it has; operators read and administer it', async () => {
    const { member, admin } = world.acme;
    const conversation = await member.createConversation('Kept');
    expect((await set('acme', 'SUSPENDED')).data.setTenantStatus.tenant).toEqual({ id: 'acme', status: 'SUSPENDED' });
    for (const query of ['{ tenant { id } }', '{ conversations { nodes { id } } }', RENAME])
      expect([query, (await admin.run(query)).code]).toEqual([query, 'TENANT_SUSPENDED']);
    expect((await member.run('{ viewer { tenant { status } } }')).data.viewer.tenant.status).toBe('SUSPENDED');
    const operator = actingIn(world, 'acme');
    expect((await operator.run('{ conversations { nodes { id } } }')).data.conversations.nodes).toContainEqual({
      id: conversation,
    });
    expect((await operator.run(RENAME)).data.updateTenant.tenant).toEqual({ name: 'Renamed', status: 'SUSPENDED' });

    await set('acme', 'ACTIVE');
    expect((await member.run('{ conversations { nodes { title } } }')).data.conversations.nodes).toContainEqual({
      title: 'Kept',
    });
  });

  it('ok: an answer that is being generated when its tenant is suspended is finished and kept', async () => {
    const { member } = world.acme;
    const conversation = await member.createConversation();
    const send = `mutation($input: SendMessageInput!) { sendMessage(input: $input) { assistantMessage { id status } } }`;
    const sent = await member.run(send, {
      input: { conversationId: conversation, content: '[[emulate chunks=4 delayMs=30]] hello' },
    });
    const { id, status } = sent.data.sendMessage.assistantMessage;
    expect(status).toBe('STREAMING');
    await set('acme', 'SUSPENDED');
    const operator = actingIn(world, 'acme');
    const read = async () => (await operator.run(`{ message(id: "${id}") { status } }`)).data.message.status as string;
    await expect.poll(read, { timeout: 20_000 }).toBe('COMPLETED');
    await set('acme', 'ACTIVE');
  });

  it('ok: in a tenant that is being removed nobody writes, not even an operator; there is no way back', async () => {
    expect((await set('globex', 'DELETING')).data.setTenantStatus.tenant.status).toBe('DELETING');
    const operator = actingIn(world, 'globex');
    expect((await operator.run('{ tenant { status } }')).data.tenant.status).toBe('DELETING');
    expect((await operator.run(RENAME)).code).toBe('TENANT_SUSPENDED');
    expect((await world.globex.admin.run('{ tenant { id } }')).code).toBe('TENANT_SUSPENDED');
    for (const status of ['ACTIVE', 'SUSPENDED']) expect((await set('globex', status)).code).toBe('CONFLICT');
  });

  it('NOT_FOUND for a tenant that is not there; FORBIDDEN for everybody but operators', async () => {
    for (const id of ['hooli', 'platform', 'no tenant']) expect((await set(id, 'SUSPENDED')).code).toBe('NOT_FOUND');
    for (const caller of [world.acme.admin, world.acme.member])
      expect((await caller.run(SET_STATUS, { id: 'acme', status: 'SUSPENDED' })).code).toBe('FORBIDDEN');
  });
});

describe('tenantRemoval', () => {
  const REMOVAL = `query($id: ID!) { tenantRemoval(tenantId: $id) { tenantId phase requestedAt rowsRemoved rowsRead doneAt } }`;

  it('ok: how far the removal is that `setTenantStatus` began; null for a tenant that is not being removed', async () => {
    const { operator } = world;
    const { tenantRemoval } = (await operator.run(REMOVAL, { id: 'globex' })).data;
    expect(tenantRemoval).toMatchObject({ tenantId: 'globex', phase: 'WAITING', rowsRemoved: 0, doneAt: null });
    expect(Date.parse(tenantRemoval.requestedAt)).toBeLessThanOrEqual(Date.now());
    for (const id of ['acme', 'hooli', 'no tenant'])
      expect((await operator.run(REMOVAL, { id })).data.tenantRemoval).toBeNull();
  });

  it('FORBIDDEN for everybody but operators, UNAUTHENTICATED for nobody', async () => {
    for (const caller of [world.acme.admin, world.acme.member])
      expect((await caller.run(REMOVAL, { id: 'globex' })).code).toBe('FORBIDDEN');
    expect((await world.nobody.run(REMOVAL, { id: 'globex' })).code).toBe('UNAUTHENTICATED');
  });

  it('what is tried in a tenant that is being removed is recorded in the trail of the platform, not in its own', async () => {
    const { product, globex } = world;
    const entriesOf = async (tenantId: TenantId) => {
      await product.recorded();
      const span = { from: '2000', before: '9999' };
      const { audit } = product.dataOf(tenantId);
      const [day = ''] = await audit.days('20000101', '99991231');
      return (await audit.slice({ day }, span, 100)).entries;
    };
    const before = await entriesOf(GLOBEX);
    const { headers } = await globex.member.run('{ conversations { nodes { id } } }');
    const requestId = headers.get('x-request-id');
    expect(await entriesOf(GLOBEX)).toEqual(before);
    const entry = (await entriesOf(PLATFORM)).find((each) => each.requestId === requestId);
    expect(entry).toMatchObject({ action: 'query.conversations', actorId: globex.member.id, result: 'FAILURE' });
    expect(entry?.details).toEqual({ code: 'TENANT_SUSPENDED', tenant: 'globex' });
  });
});
