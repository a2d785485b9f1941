import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { AppError } from '../../src/kernel/errors.ts';
import { parseTenantId } from '../../src/tenancy/tenant-id.ts';
import { createTestClock, settle } from '../support/clock.ts';
import { turnsOf } from '../support/member-turns.ts';
import { actingIn, expectTenantNeeded, NO_CONVERSATION } from '../support/refusals.ts';
import {
  cancel,
  ENDLESS,
  eventsOf,
  longestChain,
  remove,
  servedIn,
  startEndlessTurn,
  startTurn,
  stopInTime,
  textOf,
} from '../support/turns.ts';
import { SEND, startWorld, type Answer, type Caller, type World } from '../support/world.ts';

const HISTORY = `query($id: ID!) { conversation(id: $id) {
  messageCount updatedAt version lastMessage { id content } messages(first: 100) { nodes { id role status content } }
} }`;

interface History {
  readonly messageCount: number;
  readonly updatedAt: string;
  readonly version: number;
  readonly lastMessage: { readonly id: string; readonly content: string } | null;
  readonly messages: { readonly nodes: { id: string; role: string; status: string; content: string }[] };
}

const EMOJI = '😀';

/** For long texts, which no report should show. */
const expectSame = (text: string | undefined, expected: string) =>
  expect([text?.length, text === expected]).toEqual([expected.length, true]);

const acme = parseTenantId('acme')!;

describe('sendMessage', () => {
  let world: World;
  let member: Caller;
  beforeAll(async () => {
    world = await startWorld();
    member = world.acme.member;
    await member.run('{ tenant { id } }'); // its configuration is in the cache now
  });
  afterAll(() => world.stop());

  const send = (caller: Caller, conversationId: string, content: string, more: Record<string, unknown> = {}) =>
    caller.run(SEND, { input: { conversationId, content, ...more } });
  const history = async (id: string, caller = member): Promise<History> =>
    (await caller.run(HISTORY, { id })).data.conversation;
  const idsIn = ({ data }: Answer): string[] => [data.sendMessage.userMessage.id, data.sendMessage.assistantMessage.id];
  /** The place of a message in its conversation, as its id tells it. */
  const placeOf = (id: string) => Number(id.split('-').at(-1));

  describe('ok', () => {
    it('stores both messages and returns while the answer is being written', async () => {
      const id = await member.createConversation();
      const before = await history(id);
      const { data, errors } = await send(member, id, ENDLESS);
      expect(errors).toEqual([]);
      expect(data.sendMessage).toMatchObject({
        userMessage: { role: 'USER', status: 'COMPLETED', content: ENDLESS },
        assistantMessage: { role: 'ASSISTANT', status: 'STREAMING', completedAt: null, usage: null, error: null },
        conversation: { id, messageCount: 2, version: 1 },
      });
      const stored = await history(id);
      expect(stored.messages.nodes.map((message) => message.id)).toEqual([
        data.sendMessage.userMessage.id,
        data.sendMessage.assistantMessage.id,
      ]);
      expect(stored.updatedAt >= before.updatedAt).toBe(true);
      await cancel(member, data.sendMessage.assistantMessage.id);
    });

    it('numbers messages densely, turn after turn, whatever became of the turns', async () => {
      const id = await member.createConversation();
      for (const content of [
        'One',
        'Two [[emulate error=ThrottlingException]]',
        'Three [[emulate empty=true]]',
        'Four',
      ]) {
        await member.ask(id, content);
      }
      await cancel(member, (await startEndlessTurn(member, id)).answerId);
      await send(member, id, ' ');
      await member.ask(id, 'Six');
      const { messages, messageCount, lastMessage } = await history(id);
      expect(messages.nodes.map((message) => placeOf(message.id))).toEqual(
        Array.from({ length: 12 }, (_, at) => at + 1),
      );
      expect(messages.nodes.filter(({ role }) => role === 'ASSISTANT').map(({ status }) => status)).toEqual([
        ...['COMPLETED', 'FAILED', 'FAILED', 'COMPLETED', 'CANCELLED', 'COMPLETED'],
      ]);
      expect([messageCount, placeOf(lastMessage?.id ?? '')]).toEqual([12, 12]);
    });

    it('with `waitForCompletion` the answer is whole, as it is stored', async () => {
      const id = await member.createConversation();
      const { data } = await member.ask(id, 'What about refunds?');
      const { assistantMessage } = data.sendMessage;
      expect(assistantMessage).toMatchObject({ status: 'COMPLETED', agent: { id: 'support' }, error: null });
      expect((await history(id)).lastMessage?.content).toBe(assistantMessage.content);
      const [served] = servedIn(world, id);
      expect(assistantMessage.usage).toMatchObject({
        inputTokens: served?.inputTokens,
        outputTokens: served?.outputTokens,
        totalTokens: (served?.inputTokens ?? 0) + (served?.outputTokens ?? 0),
        estimated: false,
      });
    });

    it('with `waitForCompletion` a failed turn is a payload, not an error', async () => {
      const { data, errors } = await member.ask(
        await member.createConversation(),
        'Hm [[emulate error=AccessDeniedException]]',
      );
      expect(errors).toEqual([]);
      expect(data.sendMessage.assistantMessage).toMatchObject({
        ...{ status: 'FAILED', content: '', completedAt: expect.any(String) },
        error: { code: 'AGENT_UNAVAILABLE', retryable: false, retryAfterMs: null },
      });
    });

    it('with `waitForCompletion` it answers after 55 s at most, with the text so far, and the turn goes on', async () => {
      const clock = createTestClock();
      const slow = await startWorld({ clock, config: { bedrock: { kind: 'emulated', chunksPerSecond: 1 } } });
      const caller = slow.acme.member;
      const last = async (id: string) => (await history(id, caller)).lastMessage;
      try {
        const id = await caller.createConversation();
        let answered = false;
        const waiting = caller.ask(id, 'What about refunds? [[emulate chunks=200]]').finally(() => (answered = true));
        while (!(await last(id))?.content) continue;
        for (let second = 1; second < 55; second++) {
          await clock.advance(1_000);
          await caller.run('{ tenant { id } }'); // time for what travels over sockets
        }
        const before = await last(id);
        expect(answered).toBe(false);
        await clock.advance(1_000);
        const { assistantMessage } = (await waiting).data.sendMessage;
        expect([assistantMessage.id, assistantMessage.status]).toEqual([before?.id, 'STREAMING']);
        expect(assistantMessage.content.slice(0, before?.content.length)).toBe(before?.content);
        expect(servedIn(slow, id).map(({ outcome }) => outcome)).toEqual(['running']);
        expect((await cancel(caller, assistantMessage.id)).data.cancelMessage.message.status).toBe('CANCELLED');
      } finally {
        await stopInTime(slow, clock);
      }
    });

    it('makes at most 3 calls of DynamoDB after one another before the agent is called', async () => {
      const id = await member.createConversation();
      const before = world.requests.length;
      const starting = startTurn(member, id, 'Hm [[emulate stall=true after=0]]');
      while (servedIn(world, id).length === 0) await settle(1);
      const requests = world.requests.slice(before);
      await cancel(member, (await starting).answerId);
      expect(longestChain(requests)).toBeLessThanOrEqual(3);
    });
  });

  describe('content', () => {
    const stored = async (content: string): Promise<string | undefined> => {
      const id = await member.createConversation();
      const { data, code } = await member.ask(id, content);
      if (code !== undefined) {
        expect((await history(id)).messageCount).toBe(0);
        return code;
      }
      const [question] = (await history(id)).messages.nodes;
      expect(data.sendMessage.userMessage.content).toBe(question?.content);
      return question?.content;
    };

    it('is stored exactly as it was written, but for space at its ends', async () => {
      const written = 'Zeile\r\n\tzwei — „漢字“ e\u0301 👩‍👩‍👧‍👦 \u202e \u2028.';
      expect(await stored(written)).toBe(written);
      expect(await stored(` \n\t${written}\u00a0\n `)).toBe(written);
      expect(await stored('"\\u0041" ${x} {{y}} <b> &amp; \\n')).toBe('"\\u0041" ${x} {{y}} <b> &amp; \\n');
    });

    it('is 1 to 32,000 code points long after trimming; an emoji is one', async () => {
      expectSame(await stored('x'.repeat(32_000)), 'x'.repeat(32_000));
      expectSame(await stored(` ${'ü'.repeat(32_000)}\n`), 'ü'.repeat(32_000));
      const long = ['x'.repeat(32_001), EMOJI.repeat(32_001), `${EMOJI.repeat(32_000)}x`, 'x'.repeat(500_000)];
      for (const content of long) expect(await stored(content)).toBe('BAD_USER_INPUT');
      for (const content of ['', ' ', '\r\n\t', '\u00a0\u2003\ufeff'])
        expect(await stored(content)).toBe('BAD_USER_INPUT');
    });

    it('of 32,000 emoji, which is 128 KB, is stored, shown and sent to the agent whole', async () => {
      const content = EMOJI.repeat(32_000);
      const id = await member.createConversation();
      const { data } = await member.ask(id, content);
      expectSame(data.sendMessage.userMessage.content, content);
      expect(data.sendMessage.assistantMessage.status).toBe('COMPLETED');
      expectSame((await history(id)).messages.nodes[0]?.content, content);
      expectSame(servedIn(world, id)[0]?.question, content);
      const list = await member.run(
        `{ conversations(first: 1) { nodes { messages(first: 2) { nodes { content } } } } }`,
      );
      expectSame(list.data.conversations.nodes[0].messages.nodes[0].content, content);
    });

    it('BAD_USER_INPUT for control characters but tab and line breaks, and for halves of surrogate pairs', async () => {
      const bad = ['\u0000', '\u0007', '\u000b', '\u000c', '\u001b', '\u007f', '\u0085', '\u009f', '\ud83d', '\ude00'];
      for (const text of bad) expect([text, await stored(`a${text}b`)]).toEqual([text, 'BAD_USER_INPUT']);
      for (const text of ['\u0000', '\ud83d', 'a\ude00\ud83d']) expect(await stored(text)).toBe('BAD_USER_INPUT');
    });

    it('of a very large answer is streamed, stored and shown whole', async () => {
      const id = await member.createConversation();
      const { answerId } = await startTurn(member, id, 'What about refunds? [[emulate chunks=10000]]');
      const events = await eventsOf(member, answerId);
      const text = textOf(events);
      expect(Buffer.byteLength(text)).toBeGreaterThan(32 * 1024);
      expectSame(events.at(-1)?.message?.content, text);
      expectSame((await history(id)).lastMessage?.content, text);
    });

    it('of an ended answer stays as it is, whatever is written late, also where it is large', async () => {
      const id = await member.createConversation();
      const { answerId } = await startTurn(member, id, 'What about refunds? [[emulate chunks=10000]]');
      const text = textOf(await eventsOf(member, answerId));
      const { messages } = world.product.dataOf(acme);
      const { metering } = (await messages.draft(answerId))!;
      // A checkpoint that was under way when the answer ended, and an end that came second.
      await messages.checkpoint(answerId, { content: text.slice(0, 40_000), metering: metering! });
      expectSame((await history(id)).lastMessage?.content, text);
      const outcome = {
        status: 'CANCELLED',
        citations: [],
        error: null,
        usage: null,
        completedAt: '',
        lastEvent: 1,
      } as const;
      await messages.end(answerId, { ...outcome, content: 'y'.repeat(40_000) }, metering!);
      expectSame((await history(id)).lastMessage?.content, text);
    });
  });

  describe('CONVERSATION_BUSY', () => {
    it('while a turn is running, with its message id, and nothing is stored', async () => {
      const id = await member.createConversation();
      const { answerId } = await startEndlessTurn(member, id);
      const before = await history(id);
      const { code, status, errors } = await send(member, id, 'And anvils?');
      expect([code, status]).toEqual(['CONVERSATION_BUSY', 200]);
      expect(errors[0]?.extensions).toEqual({ code: 'CONVERSATION_BUSY', messageId: answerId });
      expect(await history(id)).toEqual(before);
      await cancel(member, answerId);
      expect((await member.ask(id, 'And anvils?')).data.sendMessage.assistantMessage.status).toBe('COMPLETED');
    });

    it('of 20 concurrent sends exactly one is accepted, and every other names its answer', async () => {
      const id = await member.createConversation();
      const answers = await Promise.all(Array.from({ length: 20 }, () => send(member, id, ENDLESS)));
      const accepted = answers.filter(({ code }) => code === undefined);
      expect(accepted).toHaveLength(1);
      const [, answerId = ''] = idsIn(accepted[0]!);
      const refusals = answers.flatMap(({ errors }) => errors.map(({ extensions }) => extensions));
      expect(refusals).toEqual(Array(19).fill({ code: 'CONVERSATION_BUSY', messageId: answerId }));
      expect((await history(id)).messageCount).toBe(2);
      expect(servedIn(world, id)).toHaveLength(1);
      await cancel(member, answerId);
    });

    it('20 callers who try until they are heard get one turn each, numbered densely', async () => {
      const id = await member.createConversation();
      const sendUntilAccepted = async (content: string) => {
        for (;;) {
          const answer = await member.ask(id, content);
          if (answer.code === undefined) return answer;
          expect(answer.code).toBe('CONVERSATION_BUSY');
        }
      };
      const questions = Array.from({ length: 20 }, (_, index) => `Question ${index}`);
      const answers = await Promise.all(questions.map(sendUntilAccepted));
      const { messages, messageCount } = await history(id);
      expect(messageCount).toBe(40);
      expect(messages.nodes.map((message) => placeOf(message.id))).toEqual(
        Array.from({ length: 40 }, (_, at) => at + 1),
      );
      expect(messages.nodes.filter(({ status }) => status !== 'COMPLETED')).toEqual([]);
      const asked = messages.nodes.filter(({ role }) => role === 'USER').map(({ content }) => content);
      expect(asked).toEqual(servedIn(world, id).map(({ question }) => question));
      expect(asked.toSorted()).toEqual(questions.toSorted());
      for (const answer of answers) {
        const [question = '', reply = ''] = idsIn(answer);
        expect(placeOf(reply)).toBe(placeOf(question) + 1);
      }
    });
  });

  describe('idempotencyKey', () => {
    const keyed = (id: string, content: string, idempotencyKey: unknown, more = {}) =>
      send(member, id, content, { idempotencyKey, waitForCompletion: true, ...more });

    it('repeated: returns the same messages, while the turn runs and after it', async () => {
      const id = await member.createConversation();
      const first = await keyed(id, ENDLESS, 'k', { waitForCompletion: false });
      const running = await keyed(id, `  ${ENDLESS}\n`, 'k', { waitForCompletion: false });
      expect(idsIn(running)).toEqual(idsIn(first));
      expect(running.data.sendMessage.assistantMessage.status).toBe('STREAMING');
      await cancel(member, idsIn(first)[1] ?? '');
      const ended = await keyed(id, ENDLESS, 'k');
      expect(idsIn(ended)).toEqual(idsIn(first));
      expect(ended.data.sendMessage.assistantMessage.status).toBe('CANCELLED');
      expect((await history(id)).messageCount).toBe(2);
      expect(servedIn(world, id)).toHaveLength(1);
    });

    it('repeated after a failure: attaches to the failed turn, and calls no agent', async () => {
      const id = await member.createConversation();
      const first = await keyed(id, 'Hm [[emulate error=ThrottlingException]]', 'k');
      const calls = servedIn(world, id).length;
      const again = await keyed(id, 'Hm [[emulate error=ThrottlingException]]', 'k');
      expect(again.data.sendMessage).toEqual(first.data.sendMessage);
      expect(servedIn(world, id)).toHaveLength(calls);
    });

    it.each([
      ['short', 'What about refunds?'],
      ['large', EMOJI.repeat(32_000)],
    ])('sent 10 times at once, with %s content: one turn, the same messages for all', async (_size, content) => {
      for (let round = 0; round < 3; round++) {
        const id = await member.createConversation();
        const answers = await Promise.all(Array.from({ length: 10 }, () => keyed(id, content, 'k')));
        expect(answers.map(({ code }) => code)).toEqual(Array(10).fill(undefined));
        expect(new Set(answers.map((answer) => idsIn(answer).join())).size).toBe(1);
        for (const { data } of answers) {
          expect(data.sendMessage.assistantMessage.status).toBe('COMPLETED');
          expectSame(data.sendMessage.userMessage.content, content);
          expect(data.sendMessage.conversation.messageCount).toBe(2);
        }
        expect((await history(id)).messageCount).toBe(2);
        expect(servedIn(world, id)).toHaveLength(1);
      }
    });

    it('repeated before the first call has stored its messages: waits for them', async () => {
      const id = await member.createConversation();
      const stores = world.product.dataOf(acme);
      const [adding, looked, stored] = [
        Promise.withResolvers<void>(),
        Promise.withResolvers<void>(),
        Promise.withResolvers<void>(),
      ];
      const placing: Promise<unknown>[] = [];
      const first = turnsOf(acme, world.acme.member.id, {
        ...stores,
        messages: {
          ...stores.messages,
          async add(...args) {
            adding.resolve();
            await stored.promise;
            return stores.messages.add(...args);
          },
        },
        turns: {
          ...stores.turns,
          placed(...args) {
            const done = stores.turns.placed(...args);
            placing.push(done);
            return done;
          },
        },
      });
      const again = turnsOf(acme, world.acme.member.id, {
        ...stores,
        messages: { ...stores.messages, getMany: (ids) => stores.messages.getMany(ids).finally(looked.resolve) },
        turns: { ...stores.turns, get: (key) => stores.turns.get(key).finally(looked.resolve) },
      });
      const input = { conversationId: id, content: 'What about refunds?', idempotencyKey: 'k' };
      const firstSent = first.send(input);
      await adding.promise;
      await Promise.all(placing); // if the turn's place is known before its messages are there
      const sentAgain = again.send(input).then(
        ({ assistantMessage }) => assistantMessage.id,
        (error: AppError) => error.code,
      );
      await Promise.race([looked.promise, sentAgain]);
      stored.resolve();
      expect(await sentAgain).toBe((await firstSent).assistantMessage.id);
    });

    it('IDEMPOTENCY_CONFLICT with other content, while the turn runs and after it, and nothing is stored', async () => {
      const id = await member.createConversation();
      const first = await keyed(id, ENDLESS, 'k', { waitForCompletion: false });
      expect(await keyed(id, 'Other', 'k')).toMatchObject({ code: 'IDEMPOTENCY_CONFLICT', status: 200 });
      await cancel(member, idsIn(first)[1] ?? '');
      expect((await keyed(id, 'Other', 'k')).code).toBe('IDEMPOTENCY_CONFLICT');
      expect((await keyed(id, `${ENDLESS}.`, 'k')).code).toBe('IDEMPOTENCY_CONFLICT');
      expect((await history(id)).messageCount).toBe(2);
      expect((await keyed(id, 'Other', 'k2')).code).toBeUndefined();
    });

    it('holds for one conversation only', async () => {
      const [one, other] = [await member.createConversation(), await member.createConversation()];
      await keyed(one, 'What about refunds?', 'k');
      const { data } = await keyed(other, 'Something else', 'k');
      expect(data.sendMessage.userMessage).toMatchObject({ content: 'Something else' });
      expect(data.sendMessage.conversation).toMatchObject({ id: other, messageCount: 2 });
    });

    it('of a refused send is free again, for other content too', async () => {
      const id = await member.createConversation();
      const { answerId } = await startEndlessTurn(member, id);
      const refused = await Promise.all(Array.from({ length: 5 }, () => keyed(id, 'First', 'k')));
      expect(refused.map(({ code }) => code)).toEqual(Array(5).fill('CONVERSATION_BUSY'));
      expect((await keyed(id, ' ', 'k')).code).toBe('BAD_USER_INPUT');
      await cancel(member, answerId);
      const { data } = await keyed(id, 'Second', 'k');
      expect(data.sendMessage.userMessage.content).toBe('Second');
      expect((await history(id)).messageCount).toBe(4);
    });

    it('has 1 to 200 characters, space at its ends included; null is none', async () => {
      const id = await member.createConversation();
      for (const key of ['x'.repeat(201), EMOJI.repeat(201), `${'x'.repeat(200)} `, `\n${'x'.repeat(200)}`, '']) {
        const { code, errors } = await keyed(id, 'Hm', key);
        expect([key.slice(-3), code, errors[0]?.extensions['field']]).toEqual([
          key.slice(-3),
          'BAD_USER_INPUT',
          'idempotencyKey',
        ]);
      }
      expect((await history(id)).messageCount).toBe(0);
      for (const key of ['x', 'x'.repeat(200), EMOJI.repeat(200), '#', '{"a":1}', null, null]) {
        expect((await keyed(id, 'Hm', key)).code).toBeUndefined();
      }
      expect((await history(id)).messageCount).toBe(14);
    });
  });

  describe('refusals', () => {
    it('NOT_FOUND for a colleague, another tenant, a deleted one and none at all, and nothing is stored', async () => {
      const { admin } = world.acme;
      const [admins, members, deleted] = [
        await admin.createConversation(),
        await member.createConversation(),
        await member.createConversation(),
      ];
      await remove(member, deleted);
      for (const [caller, id] of [
        [member, admins],
        [world.globex.member, members],
        [world.globex.admin, members],
        [member, deleted],
        [member, NO_CONVERSATION],
        [member, ''],
        [member, `${members}#`],
      ] as const) {
        const { code, status } = await send(caller, id, 'Hm', { idempotencyKey: 'k', waitForCompletion: true });
        expect([id, code, status]).toEqual([id, 'NOT_FOUND', 200]);
        expect(servedIn(world, id || 'none')).toEqual([]);
      }
      expect((await history(admins, admin)).messageCount).toBe(0);
      expect((await history(members)).messageCount).toBe(0);
      expect(
        (await send(admin, admins, 'Mine', { idempotencyKey: 'k', waitForCompletion: true })).code,
      ).toBeUndefined();
    });

    it('FORBIDDEN for an admin in a member’s conversation, running or not, and for an acting operator', async () => {
      const id = await member.createConversation();
      for (const caller of [world.acme.admin, actingIn(world, 'acme')]) {
        expect(await send(caller, id, 'Hm')).toMatchObject({ code: 'FORBIDDEN', status: 403 });
      }
      expect((await send(actingIn(world, 'acme'), NO_CONVERSATION, 'Hm')).code).toBe('FORBIDDEN');
      const { answerId } = await startEndlessTurn(member, id);
      expect((await send(world.acme.admin, id, 'Hm')).code).toBe('FORBIDDEN');
      expect((await history(id)).messageCount).toBe(2);
      await cancel(member, answerId);
      expect(servedIn(world, id)).toHaveLength(1);
    });

    it('UNAUTHENTICATED, TENANT_REQUIRED, TENANT_INVALID and FORBIDDEN for those without a tenant', async () =>
      expectTenantNeeded(world, SEND, { input: { conversationId: await member.createConversation(), content: 'Hm' } }));
  });
});
