import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { actingIn, expectTenantNeeded } from '../support/refusals.ts';
import { startWorld, type Caller, type World } from '../support/world.ts';

const CREATE = `mutation($input: CreateConversationInput!) { createConversation(input: $input) {
  conversation { id title version messageCount createdAt updatedAt agent { id } owner { id name } lastMessage { id } }
} }`;
const COUNT = `{ conversations(first: 100) { nodes { id } } }`;

describe('createConversation', () => {
  let world: World;
  beforeAll(async () => {
    world = await startWorld();
  });
  afterAll(() => world.stop());

  const create = (caller: Caller, input: Record<string, unknown> = {}) => caller.run(CREATE, { input });
  const countOf = async (caller: Caller): Promise<number> => (await caller.run(COUNT)).data.conversations.nodes.length;
  const titled = async (title: string) => {
    const { data, code } = await create(world.acme.member, { title });
    return code ?? (data.createConversation.conversation.title as string);
  };

  it('ok: owned by the caller, with the default agent and title, empty, and there at once', async () => {
    for (const caller of [world.acme.member, world.acme.admin]) {
      const { data } = await create(caller);
      const { conversation } = data.createConversation;
      expect(conversation).toMatchObject({
        title: 'New conversation',
        version: 1,
        messageCount: 0,
        agent: { id: 'support' },
        owner: { id: caller.id },
        lastMessage: null,
      });
      expect(conversation.updatedAt).toBe(conversation.createdAt);
      const found = await caller.run(`query($id: ID!) { conversation(id: $id) { id } }`, { id: conversation.id });
      expect(found.data.conversation.id).toBe(conversation.id);
    }
  });

  it('ok: the agent asked for; nulls are as good as nothing', async () => {
    const named = await create(world.acme.member, { agentId: 'analyst', title: 'Figures' });
    expect(named.data.createConversation.conversation).toMatchObject({ title: 'Figures', agent: { id: 'analyst' } });
    const nulls = await create(world.acme.member, { agentId: null, title: null });
    expect(nulls.data.createConversation.conversation).toMatchObject({
      title: 'New conversation',
      agent: { id: 'support' },
    });
  });

  it('titles are 1 to 200 code points after trimming; an emoji is one', async () => {
    expect(await titled('x')).toBe('x');
    expect(await titled('  \t\n x y \u00a0\ufeff ')).toBe('x y');
    expect(await titled('x'.repeat(200))).toBe('x'.repeat(200));
    expect(await titled(` ${'😀'.repeat(200)} `)).toBe('😀'.repeat(200));
    expect(await titled(`${'😀'.repeat(199)}x`)).toBe(`${'😀'.repeat(199)}x`);
    expect(await titled('e\u0301')).toBe('e\u0301'); // kept as it was written, not normalised
    for (const long of ['x'.repeat(201), '😀'.repeat(201), `${'😀'.repeat(200)}x`, 'x'.repeat(100_000)]) {
      expect(await titled(long)).toBe('BAD_USER_INPUT');
    }
    for (const blank of ['', ' ', '\n\t', '\u00a0\u2003\ufeff']) expect(await titled(blank)).toBe('BAD_USER_INPUT');
  });

  it('BAD_USER_INPUT for control characters and halves of surrogate pairs in the title, line breaks included', async () => {
    const bad = [
      '\u0000',
      '\u0007',
      '\t',
      '\n',
      '\r',
      '\u001b[31m',
      '\u007f',
      '\u0085',
      '\u009f',
      '\ud83d',
      '\ude00',
      '\ude00\ud83d',
    ];
    for (const text of bad) expect([text, await titled(`a${text}b`)]).toEqual([text, 'BAD_USER_INPUT']);
    for (const text of ['\u0000', '\u001f', '\ud83d']) expect(await titled(text)).toBe('BAD_USER_INPUT');
    expect(await titled('a\u200d👩‍👩‍👧‍👦 ü 漢 \u202e')).toContain('👩‍👩‍👧‍👦');
  });

  it('BAD_USER_INPUT for an agent the tenant does not have, and nothing is stored', async () => {
    const before = await countOf(world.globex.member);
    for (const agentId of ['', 'nobody', 'SUPPORT', 'AGSUPPORT1', 'support ', '__proto__', '\ud800']) {
      const { code, errors } = await create(world.globex.member, { agentId });
      expect([agentId, code, errors[0]?.extensions['field']]).toEqual([agentId, 'BAD_USER_INPUT', 'agentId']);
    }
    await create(world.globex.member, { title: ' ' });
    expect(await countOf(world.globex.member)).toBe(before);
  });

  it('FORBIDDEN for an acting operator, and nothing is stored', async () => {
    const before = await countOf(world.globex.admin);
    const { code, status } = await create(actingIn(world, 'globex'));
    expect([code, status]).toEqual(['FORBIDDEN', 403]);
    expect(await countOf(world.globex.admin)).toBe(before);
  });

  it('UNAUTHENTICATED, TENANT_REQUIRED, TENANT_INVALID and FORBIDDEN for those without a tenant', () =>
    expectTenantNeeded(world, CREATE, { input: {} }));
});
