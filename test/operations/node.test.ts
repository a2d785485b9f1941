import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { actingIn, expectTenantNeeded, NO_CONVERSATION, NO_MESSAGE } from '../support/refusals.ts';
import { startWorld, type World } from '../support/world.ts';

const NODE = `query($id: ID!) { node(id: $id) {
  __typename id ... on Tenant { slug } ... on Conversation { title } ... on Message { role content }
} }`;

describe('node', () => {
  let world: World;
  let conversationId: string;
  let answerId: string;
  beforeAll(async () => {
    world = await startWorld();
    conversationId = await world.acme.member.createConversation('Mine');
    const { data } = await world.acme.member.ask(conversationId, 'What about refunds?');
    answerId = data.sendMessage.assistantMessage.id;
  });
  afterAll(() => world.stop());

  it('ok: finds every type by its id, as its own root field would', async () => {
    const ids = ['acme', conversationId, answerId];
    for (const caller of [world.acme.member, world.acme.admin, actingIn(world, 'acme')]) {
      const found = await Promise.all(ids.map((id) => caller.run(NODE, { id })));
      expect(found.map(({ data }) => data.node)).toEqual([
        { __typename: 'Tenant', id: 'acme', slug: 'acme' },
        { __typename: 'Conversation', id: conversationId, title: 'Mine' },
        { __typename: 'Message', id: answerId, role: 'ASSISTANT', content: expect.stringContaining('refunds') },
      ]);
    }
  });

  it('null for a colleague: an admin’s conversation does not exist for a member', async () => {
    const hidden = await world.acme.admin.createConversation();
    const { data } = await world.acme.admin.ask(hidden, 'What about refunds?');
    for (const id of [hidden, data.sendMessage.userMessage.id, data.sendMessage.assistantMessage.id]) {
      const { data: seen, errors } = await world.acme.member.run(NODE, { id });
      expect([seen, errors]).toEqual([{ node: null }, []]);
    }
  });

  it('null for another tenant, its id included', async () => {
    const { globex } = world;
    for (const caller of [globex.member, globex.admin, actingIn(world, 'globex')]) {
      for (const id of ['acme', conversationId, answerId]) {
        const { data, errors } = await caller.run(NODE, { id });
        expect([data, errors]).toEqual([{ node: null }, []]);
      }
    }
  });

  it('null for what does not exist, and for what is no id at all', async () => {
    const ids = [NO_CONVERSATION, NO_MESSAGE, '', '#', 'platform', 'conv-', `${conversationId}#META`, `${answerId}0`];
    for (const id of [
      ...ids,
      world.acme.member.id,
      'x'.repeat(100_000),
      '\u0000',
      '\ud800',
      conversationId.toLowerCase(),
    ]) {
      const { data, errors } = await world.acme.member.run(NODE, { id });
      expect([id.slice(0, 40), data, errors]).toEqual([id.slice(0, 40), { node: null }, []]);
    }
  });

  it('UNAUTHENTICATED, TENANT_REQUIRED, TENANT_INVALID and FORBIDDEN for those without a tenant', () =>
    expectTenantNeeded(world, NODE, { id: conversationId }));
});
