import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startWorld, type World } from '../support/world.ts';

const LIST = `query($first: Int, $after: String) {
  tenants(first: $first, after: $after) { edges { cursor node { id } } nodes { id name status } pageInfo { hasNextPage hasPreviousPage endCursor } }
}`;

describe('tenants', () => {
  let world: World;
  beforeAll(async () => {
    world = await startWorld();
  });
  afterAll(() => world.stop());

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
