import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { actingIn, expectTenantNeeded, NO_MESSAGE } from '../support/refusals.ts';
import { cancel, eventsOf, refusalOf, remove, servedIn, startEndlessTurn, startTurn } from '../support/turns.ts';
import { startWorld, type Caller, type World } from '../support/world.ts';

const CANCEL = `mutation($input: CancelMessageInput!) { cancelMessage(input: $input) { message { id } } }`;
const MESSAGE = `query($id: ID!) { message(id: $id) {
  status content completedAt error { code } usage { inputTokens outputTokens totalTokens estimated }
} }`;

describe('cancelMessage', () => {
  let world: World;
  let member: Caller;
  beforeAll(async () => {
    world = await startWorld();
    member = world.acme.member;
  });
  afterAll(() => world.stop());

  const show = async (id: string, caller = member) => (await caller.run(MESSAGE, { id })).data.message;
  const cancelled = async (id: string) => (await cancel(member, id)).data.cancelMessage.message;

  it('ok: stops the call of the agent, keeps the partial text and reports CANCELLED', async () => {
    const id = await member.createConversation();
    const { answerId, text } = await startEndlessTurn(member, id);
    const reader = eventsOf(member, answerId);
    expect(await cancelled(answerId)).toEqual({
      ...{ id: answerId, status: 'CANCELLED', content: text, error: null },
      completedAt: expect.stringMatching(/Z$/),
    });
    expect(servedIn(world, id)).toMatchObject([{ outcome: 'aborted', clientHungUp: true }]);
    const events = await reader;
    expect(events.map(({ __typename }) => __typename)).toEqual(['MessageDelta', 'MessageDelta', 'MessageCancelled']);
    expect(events.at(-1)?.message).toMatchObject({ id: answerId, status: 'CANCELLED', content: text });
  });

  it('ok: what was used until then is stored, and marked as estimated', async () => {
    const id = await member.createConversation();
    const { answerId } = await startEndlessTurn(member, id);
    await cancelled(answerId);
    const { usage } = await show(answerId);
    const [served] = servedIn(world, id);
    expect(usage).toMatchObject({ estimated: true, totalTokens: usage.inputTokens + usage.outputTokens });
    expect(usage.inputTokens).toBeGreaterThan(served?.inputTokens ?? Infinity);
    expect(usage.outputTokens).toBeGreaterThan(served?.outputTokens ?? Infinity);
  });

  it('ok: the conversation can be used at once, again and again', async () => {
    const id = await member.createConversation();
    for (let round = 0; round < 5; round++) {
      const { answerId } = await startEndlessTurn(member, id);
      expect((await cancelled(answerId)).status).toBe('CANCELLED');
    }
    expect((await member.ask(id, 'What about refunds?')).data.sendMessage.assistantMessage.status).toBe('COMPLETED');
  });

  it('ok: before the agent has said anything', async () => {
    const id = await member.createConversation();
    const { answerId } = await startTurn(member, id, 'Hm [[emulate stall=true after=0]]');
    expect(await cancelled(answerId)).toMatchObject({ status: 'CANCELLED', content: '' });
    expect((await eventsOf(member, answerId)).map(({ __typename, sequence }) => [__typename, sequence])).toEqual([
      ['MessageCancelled', 1],
    ]);
  });

  it('ok: twice, also at the same time, is the same as once', async () => {
    const id = await member.createConversation();
    const { answerId } = await startEndlessTurn(member, id);
    const messages = await Promise.all(Array.from({ length: 5 }, () => cancelled(answerId)));
    messages.push(await cancelled(answerId));
    expect(new Set(messages.map((message) => JSON.stringify(message))).size).toBe(1);
    expect(messages[0].status).toBe('CANCELLED');
  });

  it('ok: an answer that has ended is returned as it is', async () => {
    for (const [content, status] of [
      ['What about refunds?', 'COMPLETED'],
      ['Hm [[emulate error=ThrottlingException]]', 'FAILED'],
    ]) {
      const { data } = await member.ask(await member.createConversation(), content ?? '');
      const { id } = data.sendMessage.assistantMessage;
      const before = await show(id);
      expect((await cancelled(id)).status).toBe(status);
      expect(await show(id)).toEqual(before);
    }
  });

  it('ok: while the answer is just ending: what is returned, stored and streamed is the same', async () => {
    const id = await member.createConversation();
    const seen = new Set<string>();
    for (let round = 0; round < 15; round++) {
      const { answerId } = await startTurn(member, id, `Question ${round}`);
      const reader = eventsOf(member, answerId);
      const { status, content, completedAt } = await cancelled(answerId);
      const terminal = (await reader).filter(({ message }) => message);
      expect(terminal.map(({ message }) => [message?.status, message?.content])).toEqual([[status, content]]);
      expect(await show(answerId)).toMatchObject({ status, content, completedAt });
      seen.add(status);
    }
    expect([...seen].filter((status) => !['COMPLETED', 'CANCELLED'].includes(status))).toEqual([]);
  });

  it('a deleted conversation’s answer cannot be cancelled or followed', async () => {
    const id = await member.createConversation();
    const { answerId } = await startEndlessTurn(member, id);
    await remove(member, id);
    expect((await cancel(member, answerId)).code).toBe('NOT_FOUND');
    expect(await refusalOf(member, answerId)).toBe('NOT_FOUND');
  });

  it('BAD_USER_INPUT for a message of the user, and the answer goes on', async () => {
    const { questionId, answerId } = await startEndlessTurn(member, await member.createConversation());
    expect(await cancel(member, questionId)).toMatchObject({ code: 'BAD_USER_INPUT', status: 200 });
    expect((await show(answerId)).status).toBe('STREAMING');
    await cancelled(answerId);
  });

  it('FORBIDDEN for an admin and an acting operator, and the answer goes on', async () => {
    const { questionId, answerId } = await startEndlessTurn(member, await member.createConversation());
    for (const caller of [world.acme.admin, actingIn(world, 'acme')]) {
      expect(await cancel(caller, answerId)).toMatchObject({ code: 'FORBIDDEN', status: 403 });
      expect((await cancel(caller, questionId)).code).toBe('FORBIDDEN');
    }
    expect((await show(answerId)).status).toBe('STREAMING');
    await cancelled(answerId);
  });

  it('NOT_FOUND for a colleague, another tenant and none at all, and the answer goes on', async () => {
    const { acme, globex } = world;
    const { answerId } = await startEndlessTurn(acme.admin, await acme.admin.createConversation());
    for (const [caller, id] of [
      [acme.member, answerId],
      [globex.member, answerId],
      [globex.admin, answerId],
      [actingIn(world, 'globex'), answerId],
      [acme.admin, NO_MESSAGE],
      [acme.admin, answerId.replace(/2$/, '3')],
      [acme.admin, ''],
      [acme.admin, '#'],
    ] as const) {
      expect(await cancel(caller, id)).toMatchObject({ code: 'NOT_FOUND', status: 200 });
    }
    expect((await show(answerId, acme.admin)).status).toBe('STREAMING');
    await cancel(acme.admin, answerId);
  });

  it('UNAUTHENTICATED, TENANT_REQUIRED, TENANT_INVALID and FORBIDDEN for those without a tenant', () =>
    expectTenantNeeded(world, CANCEL, { input: { messageId: NO_MESSAGE } }));
});
