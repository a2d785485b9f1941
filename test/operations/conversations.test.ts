import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { actingIn, expectTenantNeeded } from '../support/refusals.ts';
import {
  alteredCursors,
  badPages,
  expectedPageInfo,
  idsOf,
  PAGE,
  walkBackwards,
  walkForwards,
} from '../support/pages.ts';
import type { Connection, PageVariables } from '../support/pages.ts';
import { sentCount } from '../support/turns.ts';
import { startWorld, type Caller, type World } from '../support/world.ts';

const LIST = `query($filter: ConversationFilter, $first: Int, $after: String, $last: Int, $before: String) {
  conversations(filter: $filter, first: $first, after: $after, last: $last, before: $before) { ${PAGE} }
}`;
const CREATE = `mutation($input: CreateConversationInput!) { createConversation(input: $input) { conversation { id } } }`;

type Filter = { ownerId?: string | null; agentId?: string | null } | null;

describe('conversations', () => {
  let world: World;
  /** Newest first. */
  let members: string[];
  let admins: string[];
  beforeAll(async () => {
    world = await startWorld();
    const { acme, globex } = world;
    members = [];
    admins = [];
    for (let index = 0; index < 23; index++) {
      members.unshift(await create(acme.member, index % 3 === 0 ? 'analyst' : 'support'));
      if (index % 4 === 0) admins.unshift(await create(acme.admin, 'support'));
    }
    await create(globex.member, 'support');
    for (const id of [...members].reverse()) await acme.member.ask(id, 'What about refunds?');
    for (const id of [...admins].reverse()) await acme.admin.ask(id, 'What about refunds?');
  });
  afterAll(() => world.stop());

  async function create(caller: Caller, agentId: string): Promise<string> {
    return (await caller.run(CREATE, { input: { agentId } })).data.createConversation.conversation.id;
  }
  const run = (caller: Caller, page: PageVariables & { filter?: Filter } = {}) => caller.run(LIST, { ...page });
  const fetchAs =
    (caller: Caller, filter: Filter = null) =>
    async (page: PageVariables): Promise<Connection> =>
      (await run(caller, { ...page, filter })).data.conversations;

  it('ok: a member sees their own, newest activity first; without `first` and `last`: the first 20', async () => {
    const { data } = await run(world.acme.member);
    expect(idsOf(data.conversations)).toEqual(members.slice(0, 20));
  });

  it('ok: admin and acting operator see those of everybody in the tenant, and of nobody else', async () => {
    for (const caller of [world.acme.admin, actingIn(world, 'acme')]) {
      expect(idsOf(await fetchAs(caller)({ first: 100 }))).toEqual([...admins, ...members]);
    }
    expect(idsOf(await fetchAs(world.globex.admin)({ first: 100 }))).toHaveLength(1);
  });

  it.each([1, 7, 23, 100])('a walk by %i, either way, meets every conversation once, in order', async (size) => {
    for (const [caller, ids] of [
      [world.acme.member, members],
      [world.acme.admin, [...admins, ...members]],
    ] as const) {
      const forwards = await walkForwards(fetchAs(caller), size);
      const backwards = await walkBackwards(fetchAs(caller), size);
      expect(forwards.flatMap(idsOf)).toEqual(ids);
      expect(backwards.toReversed().flatMap(idsOf)).toEqual(ids);
      expect(forwards).toHaveLength(Math.ceil(ids.length / size));
      expect(backwards).toHaveLength(Math.ceil(ids.length / size));
      for (const page of [...forwards, ...backwards]) expect(page.pageInfo).toEqual(expectedPageInfo(page, ids));
    }
  });

  it('filters by agent and owner walk their own list, either way', async () => {
    const { acme } = world;
    const analysts = members.filter((_id, index) => (members.length - 1 - index) % 3 === 0);
    for (const [caller, filter, ids] of [
      [acme.member, { agentId: 'analyst' }, analysts],
      [acme.member, { ownerId: acme.member.id }, members],
      [acme.admin, { ownerId: acme.member.id }, members],
      [acme.admin, { ownerId: acme.admin.id }, admins],
      [acme.admin, { ownerId: acme.member.id, agentId: 'analyst' }, analysts],
      [acme.admin, { agentId: 'analyst', ownerId: null }, analysts],
    ] as const) {
      for (const size of [2, 8, 100]) {
        const forwards = await walkForwards(fetchAs(caller, filter), size);
        const backwards = await walkBackwards(fetchAs(caller, filter), size);
        expect(forwards.flatMap(idsOf)).toEqual(ids);
        expect(backwards.toReversed().flatMap(idsOf)).toEqual(ids);
        for (const page of [...forwards, ...backwards]) expect(page.pageInfo).toEqual(expectedPageInfo(page, ids));
      }
    }
  });

  it('an empty list for a colleague’s, another tenant’s and nobody’s conversations', async () => {
    const { acme, globex } = world;
    for (const [caller, filter] of [
      [acme.member, { ownerId: acme.admin.id }],
      [acme.member, { ownerId: globex.member.id }],
      [acme.member, { ownerId: '' }],
      [acme.admin, { ownerId: globex.member.id }],
      [acme.admin, { ownerId: 'user-01ARZ3NDEKTSV4RRFFQ69G5FAV' }],
      [acme.admin, { agentId: 'nobody' }],
      [acme.admin, { agentId: '' }],
      [actingIn(world, 'acme'), { ownerId: globex.member.id }],
    ] as const) {
      const { data, errors } = await run(caller, { filter });
      expect(errors).toEqual([]);
      expect(data.conversations).toEqual({
        edges: [],
        nodes: [],
        pageInfo: { hasNextPage: false, hasPreviousPage: false, startCursor: null, endCursor: null },
      });
    }
  });

  it('an empty list, not a failure, for an owner that no user can be', async () => {
    for (const ownerId of ['', '#', 'no user', `${world.acme.member.id}#`, 'ü', '\ud800', 'x'.repeat(5_000)]) {
      const { data, errors } = await run(world.acme.admin, { filter: { ownerId } });
      expect([ownerId.slice(0, 40), errors, data?.conversations.nodes]).toEqual([ownerId.slice(0, 40), [], []]);
    }
  });

  it('BAD_USER_INPUT for sizes and combinations that no page has', async () => {
    const { endCursor } = (await fetchAs(world.acme.member)({ first: 3 })).pageInfo;
    for (const page of badPages(endCursor ?? '')) {
      expect([page, (await run(world.acme.member, page)).code]).toEqual([page, 'BAD_USER_INPUT']);
    }
    // The same for a list that the caller may not see: nobody learns from it whether it has rows.
    const hidden = { filter: { ownerId: world.acme.admin.id }, first: 0 };
    expect((await run(world.acme.member, hidden)).code).toBe('BAD_USER_INPUT');
  });

  it('BAD_USER_INPUT for a cursor that was altered in any way', async () => {
    const { endCursor } = (await fetchAs(world.acme.member)({ first: 3 })).pageInfo;
    const accepted: string[] = [];
    for (const after of alteredCursors(endCursor ?? '')) {
      if ((await run(world.acme.member, { first: 3, after })).code !== 'BAD_USER_INPUT') accepted.push(after);
    }
    expect(accepted).toEqual([]);
  });

  it('BAD_USER_INPUT for a cursor of another list, another filter and another tenant', async () => {
    const { acme, globex } = world;
    const cursor = async (caller: Caller, filter: Filter = null) =>
      (await fetchAs(caller, filter)({ first: 1 })).edges[0]?.cursor ?? '';
    const messages = await acme.member.run(
      `query($id: ID!) { conversation(id: $id) { messages(first: 1) { edges { cursor } } } }`,
      { id: members[0] },
    );
    const foreign = [
      await cursor(acme.admin),
      await cursor(acme.member, { agentId: 'analyst' }),
      await cursor(globex.member),
      await cursor(globex.admin),
      messages.data.conversation.messages.edges[0].cursor as string,
    ];
    for (const given of foreign) {
      expect((await run(acme.member, { first: 3, after: given })).code).toBe('BAD_USER_INPUT');
      expect((await run(acme.member, { last: 3, before: given })).code).toBe('BAD_USER_INPUT');
    }
  });

  it('a turn makes a conversation the newest; a rename does not', async () => {
    const { admin } = world.globex;
    const ids: string[] = [];
    for (let index = 0; index < 3; index++) ids.push(await create(admin, 'support'));
    const [first = '', second = '', third = ''] = ids;
    const filter = { ownerId: admin.id };
    expect(idsOf(await fetchAs(admin, filter)({}))).toEqual([third, second, first]);
    await admin.ask(first, 'What about refunds?');
    expect(idsOf(await fetchAs(admin, filter)({}))).toEqual([first, third, second]);
    const rename = `mutation($input: RenameConversationInput!) { renameConversation(input: $input) { conversation { id } } }`;
    await admin.run(rename, { input: { conversationId: second, title: 'Renamed' } });
    expect(idsOf(await fetchAs(admin, filter)({}))).toEqual([first, third, second]);
  });

  it('UNAUTHENTICATED, TENANT_REQUIRED, TENANT_INVALID and FORBIDDEN for those without a tenant', () =>
    expectTenantNeeded(world, LIST));

  describe('calls of DynamoDB', () => {
    const ROW = `id title updatedAt agent { id name } owner { id name } lastMessage { id role content }`;

    it('a page of 20 with agent, owner and last message: at most 3', async () => {
      for (const caller of [world.acme.member, world.acme.admin]) {
        let nodes: unknown[] = [];
        const requests = await world.requestsOf(async () => {
          nodes = (await caller.run(`{ conversations(first: 20) { nodes { ${ROW} } } }`)).data.conversations.nodes;
        });
        expect(nodes).toHaveLength(20);
        expect(sentCount(requests)).toBeLessThanOrEqual(3);
      }
    });

    it('the same with the first 5 messages of each: at most 5', async () => {
      for (const caller of [world.acme.member, world.acme.admin]) {
        const query = `{ conversations(first: 20) { nodes { ${ROW} messages(first: 5) { nodes { id content } } } } }`;
        const requests = await world.requestsOf(() => caller.run(query));
        expect(sentCount(requests)).toBeLessThanOrEqual(5);
      }
    });
  });
});
