import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { SERVICE_ERRORS } from '../../src/local/bedrock/service-error.ts';
import { createTestClock } from '../support/clock.ts';
import { actingIn, NO_MESSAGE } from '../support/refusals.ts';
import {
  cancel,
  eventsOf,
  follow,
  refusalOf,
  servedIn,
  startEndlessTurn,
  startTurn,
  stopInTime,
  textOf,
} from '../support/turns.ts';
import type { ShownEvent } from '../support/turns.ts';
import { startWorld, STREAM, type Caller, type World } from '../support/world.ts';

const MESSAGE = `query($id: ID!) { message(id: $id) { status content citations { title } error { code retryable } } }`;
/** Whether the same question may do better next time, for every exception InvokeAgent documents. */
const RETRYABLE: Record<keyof typeof SERVICE_ERRORS, boolean> = {
  AccessDeniedException: false,
  BadGatewayException: true,
  ConflictException: true,
  DependencyFailedException: true,
  InternalServerException: true,
  ModelNotReadyException: true,
  ResourceNotFoundException: false,
  ServiceQuotaExceededException: true,
  ThrottlingException: true,
  ValidationException: false,
};

describe('messageStream', () => {
  let world: World;
  let member: Caller;
  beforeAll(async () => {
    world = await startWorld();
    member = world.acme.member;
  });
  afterAll(() => world.stop());

  const start = async (content: string, caller = member) =>
    startTurn(caller, await caller.createConversation(), content);
  const show = async (id: string) => (await member.run(MESSAGE, { id })).data.message;

  /** Numbers from 1 without gaps, and the terminal event once, at the end. */
  function expectWhole(events: readonly ShownEvent[]) {
    expect(events.map(({ sequence }) => sequence)).toEqual(events.map((_event, at) => at + 1));
    expect(events.map(({ message }) => message !== undefined)).toEqual(
      events.map((_event, at) => at === events.length - 1),
    );
  }

  describe('ok', () => {
    it('text and citations in order, then the message as it is stored', async () => {
      const { answerId } = await start('What about refunds?');
      const events = await eventsOf(member, answerId);
      expectWhole(events);
      expect(new Set(events.map(({ messageId }) => messageId))).toEqual(new Set([answerId]));
      const last = events.at(-1);
      expect([last?.__typename, last?.message?.status]).toEqual(['MessageCompleted', 'COMPLETED']);
      expect(last?.message?.content).toBe(textOf(events));
      const stored = await show(answerId);
      expect(stored.content).toBe(textOf(events));
      expect(stored.citations).toEqual(events.flatMap(({ citation }) => (citation ? [{ title: citation.title }] : [])));
      expect(stored.citations.length).toBeGreaterThan(0);
    });

    it('two readers from the start and a late one see the same events', async () => {
      const { answerId } = await start('What about refunds? [[emulate chunks=100 delayMs=1]]');
      const [one, other] = await Promise.all([eventsOf(member, answerId), eventsOf(member, answerId)]);
      expectWhole(one);
      expect(other).toEqual(one);
      expect(await eventsOf(member, answerId)).toEqual(one);
      expect(await eventsOf(member, answerId, 0)).toEqual(one);
    });

    it('a reader that joins in the middle is given what came before', async () => {
      const { answerId } = await startEndlessTurn(member, await member.createConversation());
      const late = eventsOf(member, answerId);
      const resumed = eventsOf(member, answerId, 1);
      await cancel(member, answerId);
      expectWhole(await late);
      expect(await resumed).toEqual((await late).slice(1));
    });

    it('resumes after any sequence number; beyond the end the terminal event comes all the same', async () => {
      const { answerId } = await start('What about refunds?');
      const events = await eventsOf(member, answerId);
      for (let after = 0; after < events.length; after++) {
        expect(await eventsOf(member, answerId, after)).toEqual(events.slice(after));
      }
      for (const after of [events.length, events.length + 1, 2_147_483_647]) {
        expect(await eventsOf(member, answerId, after)).toEqual(events.slice(-1));
      }
    });

    it('`after` beyond what was written so far: waits, and ends with the terminal event', async () => {
      const { answerId } = await startEndlessTurn(member, await member.createConversation());
      const reader = eventsOf(member, answerId, 1_000);
      await cancel(member, answerId);
      expect((await reader).map(({ __typename, sequence }) => [__typename, sequence])).toEqual([
        ['MessageCancelled', 3],
      ]);
    });

    it('a reader that leaves changes nothing, for the answer and for other readers', async () => {
      const { answerId } = await start('What about refunds? [[emulate chunks=50 delayMs=2]]');
      const stays = eventsOf(member, answerId);
      for (let reader = 0; reader < 3; reader++) {
        const client = member.socket();
        for await (const _event of client.iterate({ query: STREAM, variables: { messageId: answerId } })) break;
        if (reader === 1) client.terminate();
        else await client.dispose();
      }
      const events = await stays;
      expectWhole(events);
      expect(events.at(-1)?.__typename).toBe('MessageCompleted');
      expect((await show(answerId)).content).toBe(textOf(events));
    });

    it('nobody need watch: the answer is whole all the same', async () => {
      const id = await member.createConversation();
      await startTurn(member, id, 'What about refunds?');
      while (servedIn(world, id)[0]?.outcome !== 'completed') await member.run('{ viewer { id } }');
      const { data } = await member.run(`query($id: ID!) { conversation(id: $id) { lastMessage { id } } }`, { id });
      expectWhole(await eventsOf(member, data.conversation.lastMessage.id));
    });

    it('admin and acting operator see a member’s stream', async () => {
      const { answerId } = await start('What about refunds?');
      const events = await eventsOf(member, answerId);
      expect(await eventsOf(world.acme.admin, answerId)).toEqual(events);
      expect(await eventsOf(actingIn(world, 'acme'), answerId)).toEqual(events);
    });

    it('of a user’s message is one terminal event', async () => {
      const { questionId, answerId } = await startEndlessTurn(member, await member.createConversation());
      const events = await eventsOf(member, questionId);
      expectWhole(events);
      expect(events).toMatchObject([
        { __typename: 'MessageCompleted', messageId: questionId, message: { id: questionId } },
      ]);
      await cancel(member, answerId);
    });

    it('20 readers each see every event once', async () => {
      const { answerId } = await start('What about refunds? [[emulate chunks=300]]');
      const streams = await Promise.all(Array.from({ length: 20 }, () => eventsOf(member, answerId)));
      expectWhole(streams[0] ?? []);
      for (const events of streams) expect(events).toEqual(streams[0]);
    });

    it('15 minutes after the end: the one terminal event, with the number it had, whatever `after` is', async () => {
      const clock = createTestClock();
      const later = await startWorld({ clock });
      try {
        for (const content of ['What about refunds?', 'Hm [[emulate cut=true]]']) {
          const caller = await later.signIn('acme', 'member@acme.example');
          const { answerId } = await startTurn(caller, await caller.createConversation(), content);
          const events = await eventsOf(caller, answerId);
          await clock.advance(14 * 60_000);
          const renewed = await later.signIn('acme', 'member@acme.example');
          expect(await eventsOf(renewed, answerId)).toEqual(events);
          await clock.advance(60_000);
          for (const after of [0, 2, 1_000]) expect(await eventsOf(renewed, answerId, after)).toEqual(events.slice(-1));
        }
      } finally {
        await stopInTime(later, clock);
      }
    });
  });

  describe('FAILED', () => {
    async function expectFailed(content: string, error: { code: string; retryable: boolean }) {
      const id = await member.createConversation();
      const { answerId } = await startTurn(member, id, content);
      const events = await eventsOf(member, answerId);
      expectWhole(events);
      const terminal = events.at(-1);
      expect([terminal?.__typename, terminal?.message?.status]).toEqual(['MessageFailed', 'FAILED']);
      expect(terminal?.message?.error).toEqual(error);
      expect(await show(answerId)).toMatchObject({ status: 'FAILED', error, content: terminal?.message?.content });
      // The conversation is free at once.
      expect((await member.ask(id, 'And now?')).data.sendMessage.assistantMessage.status).toBe('COMPLETED');
      return events;
    }

    const faults = Object.entries(RETRYABLE);

    it.each(faults)('%s before the stream: retryable %s', async (name, retryable) => {
      const events = await expectFailed(`Hm [[emulate error=${name}]]`, { code: 'AGENT_UNAVAILABLE', retryable });
      expect(events).toHaveLength(1);
      expect(events[0]?.message?.content).toBe('');
    });

    it.each(faults)('%s in the middle: retryable %s, and what came before is kept', async (name, retryable) => {
      const content = `What about refunds? [[emulate error=${name} after=3]]`;
      const events = await expectFailed(content, { code: 'AGENT_UNAVAILABLE', retryable });
      expect(events.length).toBeGreaterThan(1);
      expect(events.at(-1)?.message?.content).toBe(textOf(events));
    });

    it.each([
      ['cut=true', true],
      ['cut=true after=0', true],
      ['empty=true', true],
      ['tool=lookUp', false],
      ['nonsense=1', false],
    ])('%s: retryable %s', async (emulate, retryable) => {
      const content = `What about refunds? [[emulate ${emulate}]]`;
      const events = await expectFailed(content, { code: 'AGENT_UNAVAILABLE', retryable });
      expect(events.at(-1)?.message?.content).toBe(textOf(events));
    });

    it('shows nothing of what the service said', async () => {
      const { answerId } = await start('Hm [[emulate error=InternalServerException]]');
      await eventsOf(member, answerId);
      const { data } = await member.run(`query($id: ID!) { message(id: $id) { error { message } } }`, { id: answerId });
      expect(data.message.error.message).toBe('The agent failed.');
    });

    it.each([0, 3])('an agent that falls silent after %i chunks is given up, and hung up on', async (after) => {
      const impatient = await startWorld({ config: { bedrockIdleTimeoutMs: 250 } });
      try {
        const caller = impatient.acme.member;
        const id = await caller.createConversation();
        const { answerId } = await startTurn(caller, id, `What about refunds? [[emulate stall=true after=${after}]]`);
        const events = await eventsOf(caller, answerId);
        expectWhole(events);
        const { status, content, error } = events.at(-1)?.message ?? {};
        expect([status, error]).toEqual(['FAILED', { code: 'AGENT_UNAVAILABLE', retryable: true }]);
        expect(content).toBe(textOf(events));
        // Before it has said anything, its other alias is asked too.
        const hungUp = { outcome: 'aborted', clientHungUp: true };
        expect(servedIn(impatient, id)).toMatchObject(after === 0 ? [hungUp, hungUp] : [hungUp]);
      } finally {
        await impatient.stop();
      }
    });

    describe('ISOLATION_VIOLATION', () => {
      const error = { code: 'ISOLATION_VIOLATION', retryable: false };

      it.each([
        ['globex', 0],
        ['globex', 3],
        ['hooli', 0],
      ])('a passage of %s after %i chunks: the answer is withheld, and the call ended', async (tenant, after) => {
        const id = await member.createConversation();
        const question = `What about refunds? [[emulate foreign=${tenant} after=${after} chunks=20 delayMs=5]]`;
        const { answerId } = await startTurn(member, id, question);
        const events = await eventsOf(member, answerId);
        // Of 20 chunks no reader gets the one with the passage, nor any after it.
        expect(events.length).toBeLessThanOrEqual(after + 1);
        expect(events.at(-1)).toMatchObject({
          __typename: 'MessageFailed',
          message: { status: 'FAILED', content: '', error },
        });
        expect(JSON.stringify(events)).not.toContain('ecret of');
        expect(await show(answerId)).toEqual({ status: 'FAILED', content: '', citations: [], error });
        expect((await member.ask(id, 'And now?')).data.sendMessage.assistantMessage.status).toBe('COMPLETED');
      });

      it('what came before the passage is not replayed either: a late reader gets the terminal event alone', async () => {
        const { answerId } = await start('What about refunds? [[emulate foreign=globex after=5 chunks=20 delayMs=5]]');
        await eventsOf(member, answerId);
        for (const after of [0, 3]) {
          const events = await eventsOf(member, answerId, after);
          expect(events).toMatchObject([{ __typename: 'MessageFailed', message: { content: '' } }]);
        }
      });

      it('a passage of the tenant itself is none', async () => {
        const { answerId } = await start('What about refunds? [[emulate foreign=acme]]');
        expect((await eventsOf(member, answerId)).at(-1)?.__typename).toBe('MessageCompleted');
      });
    });
  });

  describe('refusals', () => {
    it('NOT_FOUND for a colleague, another tenant and none at all', async () => {
      const { acme, globex } = world;
      const { answerId } = await start('What about refunds?', acme.admin);
      for (const [caller, id] of [
        [acme.member, answerId],
        [globex.member, answerId],
        [globex.admin, answerId],
        [actingIn(world, 'globex'), answerId],
        [acme.admin, NO_MESSAGE],
        [acme.admin, answerId.replace(/2$/, '3')],
        [acme.admin, ''],
      ] as const) {
        expect([id, await refusalOf(caller, id)]).toEqual([id, 'NOT_FOUND']);
      }
    });

    it('BAD_USER_INPUT for a negative `after`', async () => {
      const { answerId } = await start('What about refunds?');
      for (const after of [-1, -2_147_483_648]) expect(await refusalOf(member, answerId, after)).toBe('BAD_USER_INPUT');
    });

    it('UNAUTHENTICATED, TENANT_REQUIRED, TENANT_INVALID and FORBIDDEN for those without a tenant', async () => {
      const { answerId } = await start('What about refunds?');
      expect(await refusalOf(world.nobody, answerId)).toBe('UNAUTHENTICATED');
      expect(await refusalOf(world.operator, answerId)).toBe('TENANT_REQUIRED');
      expect(await refusalOf(actingIn(world, 'hooli'), answerId)).toBe('TENANT_INVALID');
      expect(await refusalOf(member.with({ 'x-tenant-id': 'globex' }), answerId)).toBe('FORBIDDEN');
    });

    it('over HTTP: BAD_REQUEST, because a subscription needs a WebSocket', async () => {
      const { answerId } = await start('What about refunds?');
      expect(await member.run(STREAM, { messageId: answerId })).toMatchObject({ code: 'BAD_REQUEST', status: 400 });
    });

    it('a reader gone in the middle leaves no other without its events', async () => {
      const { answerId } = await startEndlessTurn(member, await member.createConversation());
      const stays = eventsOf(member, answerId);
      for await (const { sequence } of follow(member, answerId)) if (sequence === 2) break;
      await cancel(member, answerId);
      expectWhole(await stays);
    });
  });
});
