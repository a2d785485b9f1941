import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { actingIn, expectTenantNeeded, NO_CONVERSATION } from '../support/refusals.ts';
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

const CONVERSATION = `query($id: ID!) { conversation(id: $id) {
  id title version messageCount createdAt updatedAt agent { id name } owner { id name email } lastMessage { id role }
} }`;
const MESSAGES = `query($id: ID!, $first: Int, $after: String, $last: Int, $before: String) {
  conversation(id: $id) { messages(first: $first, after: $after, last: $last, before: $before) { ${PAGE} } }
}`;
const TURNS = 12;

describe('conversation', () => {
  let world: World;
  let id: string;
  beforeAll(async () => {
    world = await startWorld();
    id = await world.acme.member.createConversation('About refunds');
    for (let turn = 0; turn < TURNS; turn++) await world.acme.member.ask(id, `Question ${turn}`);
  });
  afterAll(() => world.stop());

  const show = (caller: Caller, conversationId = id) => caller.run(CONVERSATION, { id: conversationId });

  it('ok: owner, admin and acting operator see the same', async () => {
    const { member, admin } = world.acme;
    for (const caller of [member, admin, actingIn(world, 'acme')]) {
      const { data, errors } = await show(caller);
      expect(errors).toEqual([]);
      expect(data.conversation).toMatchObject({
        id,
        title: 'About refunds',
        version: 1,
        messageCount: 2 * TURNS,
        agent: { id: 'support', name: 'Support' },
        owner: { id: member.id, name: 'Acme Corporation Member', email: 'member@acme.example' },
        lastMessage: { role: 'ASSISTANT' },
      });
      expect(data.conversation.updatedAt > data.conversation.createdAt).toBe(true);
    }
  });

  it('ok: an empty one has no last message and an empty page', async () => {
    const empty = await world.acme.member.createConversation();
    const { data } = await world.acme.member.run(
      `query($id: ID!) { conversation(id: $id) { messageCount lastMessage { id } messages { ${PAGE} } } }`,
      { id: empty },
    );
    const pageInfo = { hasNextPage: false, hasPreviousPage: false, startCursor: null, endCursor: null };
    expect(data.conversation).toEqual({
      messageCount: 0,
      lastMessage: null,
      messages: { edges: [], nodes: [], pageInfo },
    });
  });

  it('null for a colleague, another tenant, and what does not exist', async () => {
    const { acme, globex } = world;
    const admins = await acme.admin.createConversation();
    const cases: [Caller, string][] = [
      [acme.member, admins],
      [globex.member, id],
      [globex.admin, id],
      [actingIn(world, 'globex'), id],
      ...[NO_CONVERSATION, '', id.toLowerCase(), `${id}#META`, `${id}\n`, 'x'.repeat(100_000)].map(
        (bad): [Caller, string] => [acme.member, bad],
      ),
    ];
    for (const [caller, conversationId] of cases) {
      const { data, errors } = await show(caller, conversationId);
      expect([data, errors]).toEqual([{ conversation: null }, []]);
    }
  });

  it('UNAUTHENTICATED, TENANT_REQUIRED, TENANT_INVALID and FORBIDDEN for those without a tenant', () =>
    expectTenantNeeded(world, CONVERSATION, { id }));

  describe('messages', () => {
    const run = (page: PageVariables, conversationId = id, caller: Caller = world.acme.member) =>
      caller.run(MESSAGES, { id: conversationId, ...page });
    const fetch = async (page: PageVariables): Promise<Connection> => (await run(page)).data.conversation.messages;
    const all = async () => idsOf(await fetch({ first: 100 }));

    it('come oldest first, user and assistant in turn', async () => {
      const { data } = await world.acme.member.run(
        `query($id: ID!) { conversation(id: $id) { messages(first: 100) { nodes { role content } } } }`,
        { id },
      );
      const { nodes } = data.conversation.messages;
      expect(nodes.map(({ role }: { role: string }) => role)).toEqual(Array(TURNS).fill(['USER', 'ASSISTANT']).flat());
      const asked = nodes.filter(({ role }: { role: string }) => role === 'USER');
      expect(asked.map(({ content }: { content: string }) => content)).toEqual(
        Array.from({ length: TURNS }, (_, turn) => `Question ${turn}`),
      );
    });

    it('without `first` and `last`: the first 20', async () => {
      expect(idsOf(await fetch({}))).toEqual((await all()).slice(0, 20));
    });

    it.each([1, 5, 24, 100])('a walk by %i, either way, meets every message once, in order', async (size) => {
      const ids = await all();
      expect(ids).toHaveLength(2 * TURNS);
      const forwards = await walkForwards(fetch, size);
      const backwards = await walkBackwards(fetch, size);
      expect(forwards.flatMap(idsOf)).toEqual(ids);
      expect(backwards.toReversed().flatMap(idsOf)).toEqual(ids);
      expect(forwards).toHaveLength(Math.ceil(ids.length / size));
      expect(backwards).toHaveLength(Math.ceil(ids.length / size));
      for (const page of [...forwards, ...backwards]) expect(page.pageInfo).toEqual(expectedPageInfo(page, ids));
    });

    it('pages beyond either end are empty and say where the rest is', async () => {
      const { startCursor, endCursor } = (await fetch({ first: 100 })).pageInfo;
      const none = { startCursor: null, endCursor: null };
      const beyond = await fetch({ first: 5, after: endCursor });
      expect([beyond.edges, beyond.pageInfo]).toEqual([[], { ...none, hasNextPage: false, hasPreviousPage: true }]);
      const before = await fetch({ last: 5, before: startCursor });
      expect([before.edges, before.pageInfo]).toEqual([[], { ...none, hasNextPage: true, hasPreviousPage: false }]);
    });

    it('BAD_USER_INPUT for sizes and combinations that no page has', async () => {
      const { endCursor } = (await fetch({ first: 3 })).pageInfo;
      for (const page of badPages(endCursor ?? '')) {
        expect([page, (await run(page)).code]).toEqual([page, 'BAD_USER_INPUT']);
      }
    });

    it('BAD_USER_INPUT for a cursor that was altered in any way', async () => {
      const { endCursor } = (await fetch({ first: 3 })).pageInfo;
      const accepted: string[] = [];
      for (const after of alteredCursors(endCursor ?? '')) {
        if ((await run({ first: 3, after })).code !== 'BAD_USER_INPUT') accepted.push(after);
      }
      expect(accepted).toEqual([]);
    });

    it('BAD_USER_INPUT for a cursor of another conversation, another list and another tenant', async () => {
      const { acme, globex } = world;
      const cursorOf = async (caller: Caller) => {
        const other = await caller.createConversation();
        await caller.ask(other, 'What about refunds?');
        return (await run({ first: 1 }, other, caller)).data.conversation.messages.edges[0].cursor as string;
      };
      const listed = await acme.member.run(`{ conversations(first: 1) { edges { cursor } } }`);
      const foreign = [
        await cursorOf(acme.member),
        await cursorOf(acme.admin),
        await cursorOf(globex.member),
        listed.data.conversations.edges[0].cursor as string,
      ];
      for (const cursor of foreign) {
        expect((await run({ first: 3, after: cursor })).code).toBe('BAD_USER_INPUT');
        expect((await run({ last: 3, before: cursor })).code).toBe('BAD_USER_INPUT');
      }
    });

    it('a page of 20 is one call of DynamoDB besides the conversation itself', async () => {
      const { member } = world.acme;
      await show(member); // the tenant is in the cache now
      const query = `query($id: ID!) { conversation(id: $id) { messages(first: 20) { nodes { id role content usage { totalTokens } } } } }`;
      const requests = await world.requestsOf(() => member.run(query, { id }));
      expect(requests.map(({ operation }) => operation)).toContain('QueryCommand');
      expect(sentCount(requests)).toBe(2);
    });
  });
});
