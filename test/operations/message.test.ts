import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { actingIn, expectTenantNeeded, NO_MESSAGE } from '../support/refusals.ts';
import { cancel, startEndlessTurn } from '../support/turns.ts';
import { startWorld, type Caller, type World } from '../support/world.ts';

const MESSAGE = `query($id: ID!) { message(id: $id) {
  id role status content createdAt completedAt agent { id name } conversation { id title }
  citations { text source title } error { code message retryable retryAfterMs }
  usage { inputTokens outputTokens totalTokens latencyMs modelId estimated }
} }`;

describe('message', () => {
  let world: World;
  let conversationId: string;
  let questionId: string;
  let answerId: string;
  beforeAll(async () => {
    world = await startWorld();
    conversationId = await world.acme.member.createConversation('Mine');
    const { data } = await world.acme.member.ask(conversationId, 'What about refunds?');
    questionId = data.sendMessage.userMessage.id;
    answerId = data.sendMessage.assistantMessage.id;
  });
  afterAll(() => world.stop());

  const show = (caller: Caller, id: string) => caller.run(MESSAGE, { id });

  it('ok: owner, admin and acting operator see question and answer', async () => {
    for (const caller of [world.acme.member, world.acme.admin, actingIn(world, 'acme')]) {
      const question = await show(caller, questionId);
      expect(question.errors).toEqual([]);
      expect(question.data.message).toMatchObject({
        ...{ id: questionId, role: 'USER', status: 'COMPLETED', content: 'What about refunds?', agent: null },
        ...{ conversation: { id: conversationId, title: 'Mine' }, citations: [], error: null, usage: null },
      });
      const { data } = await show(caller, answerId);
      expect(data.message).toMatchObject({
        ...{ id: answerId, role: 'ASSISTANT', status: 'COMPLETED', agent: { id: 'support', name: 'Support' } },
        ...{ conversation: { id: conversationId }, error: null },
        usage: { modelId: 'amazon.nova-lite-v1:0', estimated: false },
      });
      const { usage, citations, createdAt, completedAt } = data.message;
      expect(usage.totalTokens).toBe(usage.inputTokens + usage.outputTokens);
      expect(citations[0].source).toMatch(/^s3:\/\/demo-documents\/acme\//);
      expect(completedAt >= createdAt).toBe(true);
    }
  });

  it('ok: an answer that is being written shows the text so far, and no usage yet', async () => {
    const { member } = world.acme;
    const running = await member.createConversation();
    const turn = await startEndlessTurn(member, running);
    const { data } = await show(member, turn.answerId);
    expect(data.message).toMatchObject({ status: 'STREAMING', content: turn.text, completedAt: null, usage: null });
    const last = await member.run(
      `query($id: ID!) { conversation(id: $id) {
      lastMessage { content } messages(last: 1) { nodes { content } }
    } }`,
      { id: running },
    );
    expect(last.data.conversation.lastMessage.content).toBe(turn.text);
    expect(last.data.conversation.messages.nodes).toEqual([{ content: turn.text }]);
    await cancel(member, turn.answerId);
  });

  it('null for a colleague, another tenant, and what does not exist', async () => {
    const { acme, globex } = world;
    const hidden = await acme.admin.createConversation();
    const { data } = await acme.admin.ask(hidden, 'What about refunds?');
    const cases: [Caller, string][] = [
      [acme.member, data.sendMessage.userMessage.id],
      [acme.member, data.sendMessage.assistantMessage.id],
      [globex.member, answerId],
      [globex.admin, answerId],
      [actingIn(world, 'globex'), answerId],
      [acme.member, NO_MESSAGE],
      [acme.member, conversationId],
      [acme.member, answerId.replace(/2$/, '3')],
      [acme.member, answerId.replace(/2$/, '0')],
      [acme.member, answerId.replace(/2$/, '02')],
      [acme.member, answerId.replace(/2$/, '-2')],
      [acme.member, answerId.replace(/2$/, '999999999')],
      [acme.member, answerId.replace(/2$/, '99999999999999999999')],
      [acme.member, `${answerId}\n`],
      [acme.member, ''],
    ];
    for (const [caller, id] of cases) {
      const { data: seen, errors } = await show(caller, id);
      expect([id, seen, errors]).toEqual([id, { message: null }, []]);
    }
  });

  it('UNAUTHENTICATED, TENANT_REQUIRED, TENANT_INVALID and FORBIDDEN for those without a tenant', () =>
    expectTenantNeeded(world, MESSAGE, { id: answerId }));
});
