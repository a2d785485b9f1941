import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startWorld, type World } from '../support/world.ts';

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

describe('createTenant', () => {
  let world: World;
  beforeAll(async () => {
    world = await startWorld();
  });
  afterAll(() => world.stop());

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
