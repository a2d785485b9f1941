import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startOwnStorage } from '../support/own-storage.ts';
import { HAS_REDIS_SERVER, startRedisProcess, type RedisProcess } from '../support/redis-process.ts';
import { scrape } from '../support/scrape.ts';
import { SEND, startWorld, STREAM, type Caller, type World } from '../support/world.ts';

const LIMIT = 6;
const CANCEL =
  'mutation($input: CancelMessageInput!) { cancelMessage(input: $input) { message { id status content } } }';
const MESSAGE = 'query($id: ID!) { message(id: $id) { status content } }';

interface StreamedEvent {
  readonly __typename: string;
  readonly sequence: number;
  readonly text?: string;
  readonly position?: number;
  readonly message?: { readonly status: string; readonly content: string };
}

describe.skipIf(!HAS_REDIS_SERVER)(
  `two instances on one DynamoDB and one Redis are as one${HAS_REDIS_SERVER ? '' : ' (SKIPPED: there is no redis-server)'}`,
  () => {
    let storage: Awaited<ReturnType<typeof startOwnStorage>>;
    let redis: RedisProcess;
    let a: World;
    let b: World;
    /** The same person at each of them. */
    let atA: Caller;
    let atB: Caller;
    beforeAll(async () => {
      storage = await startOwnStorage();
      await storage.addTenant('initech', { requestsPerMinute: LIMIT });
      await storage.addTenant('hooli', { concurrentGenerations: 1 });
      await storage.addTenant('umbrella', { requestsPerMinute: LIMIT });
      redis = await startRedisProcess();
      const config = { ...storage.config, redisUrl: redis.url };
      [a, b] = await Promise.all([startWorld({ config }), startWorld({ config })]);
      atA = a.acme.member;
      atB = b.caller(atA.token);
    });
    afterAll(async () => {
      await Promise.all([a.stop(), b.stop()]);
      await storage.close();
      await redis.kill();
    });

    async function start(caller: Caller, content: string, extra: object = {}) {
      const conversationId = await caller.createConversation();
      const { data } = await caller.run(SEND, { input: { conversationId, content, ...extra } });
      return { conversationId, answerId: data.sendMessage.assistantMessage.id as string };
    }

    /** The events of an answer, and a promise of each. */
    async function* follow(caller: Caller, messageId: string, after = 0): AsyncGenerator<StreamedEvent> {
      for await (const { data, errors } of caller.stream(STREAM, { messageId, after })) {
        if (errors) throw Object.assign(new Error('refused'), errors[0]!.extensions);
        yield (data as { messageStream: StreamedEvent }).messageStream;
      }
    }
    const all = async (events: AsyncIterable<StreamedEvent>) => {
      const found: StreamedEvent[] = [];
      for await (const event of events) found.push(event);
      return found;
    };
    const textOf = (events: readonly StreamedEvent[]) => events.map(({ text = '' }) => text).join('');

    it('an answer that one generates is followed live on the other: gapless, in order, to the same end', async () => {
      const { answerId } = await start(atA, '[[emulate chunks=30 delayMs=5]] Tell me about refunds');
      const [own, other] = await Promise.all([all(follow(atA, answerId)), all(follow(atB, answerId))]);
      expect(other.map(({ sequence }) => sequence)).toEqual(other.map((_, n) => n + 1));
      expect(textOf(other)).toBe(other.at(-1)!.message!.content);
      expect(other).toEqual(own);
      expect(other.length).toBeGreaterThan(10);
    });

    it('a reader resumes on the other, during the answer and after it, exactly where it stopped', async () => {
      const { answerId } = await start(atA, '[[emulate chunks=30 delayMs=5]] Tell me about refunds');
      const first: StreamedEvent[] = [];
      for await (const event of follow(atA, answerId)) {
        first.push(event);
        if (event.sequence === 7) break;
      }
      const rest = await all(follow(atB, answerId, 7));
      expect(rest[0]!.sequence).toBe(8);
      expect(textOf([...first, ...rest])).toBe(rest.at(-1)!.message!.content);
      expect(await all(follow(atB, answerId, 20))).toEqual(rest.filter(({ sequence }) => sequence > 20));
    });

    it('a message that is being written is shown with its text so far, on the other too', async () => {
      const { answerId } = await start(atA, '[[emulate chunks=5 stall=true after=3]] Hm');
      for await (const { text } of follow(atB, answerId)) if (text) break;
      const { data } = await atB.run(MESSAGE, { id: answerId });
      expect(data.message).toMatchObject({ status: 'STREAMING', content: expect.stringMatching(/./) as string });
      await atB.run(CANCEL, { input: { messageId: answerId } });
    });

    it('cancelMessage on the other stops it at once, long before the lease is renewed', async () => {
      const { answerId } = await start(atA, '[[emulate chunks=5 stall=true after=2]] Hm');
      for await (const { text } of follow(atB, answerId)) if (text) break;
      const cancelled = await atB.run(CANCEL, { input: { messageId: answerId } });
      expect(cancelled.data.cancelMessage.message).toMatchObject({ status: 'CANCELLED' });
      expect(cancelled.data.cancelMessage.message.content).not.toBe('');
    });

    it('the same key on both, at the same time, is one turn', async () => {
      const conversationId = await atA.createConversation();
      const input = { conversationId, content: 'Once only', idempotencyKey: 'the key', waitForCompletion: true };
      const answers = await Promise.all([a, b, a, b].map((world) => world.caller(atA.token).run(SEND, { input })));
      const ids = answers.map(({ data }) => data.sendMessage.assistantMessage.id as string);
      expect(new Set(ids).size).toBe(1);
      for (const { data } of answers) expect(data.sendMessage.assistantMessage.status).toBe('COMPLETED');
      expect(answers[0]!.data.sendMessage.conversation.messageCount).toBe(2);
    });

    it('requestsPerMinute is one limit for both', async () => {
      const admin = await a.signIn('initech', 'admin@initech.example');
      const callers = [admin, b.caller(admin.token)];
      const codes: (string | undefined)[] = [];
      for (let n = 0; n < LIMIT + 2; n++) codes.push((await callers[n % 2]!.run('{ tenant { id } }')).code);
      expect(codes.filter((code) => code === undefined)).toHaveLength(LIMIT);
      expect(codes.slice(LIMIT)).toEqual(['RATE_LIMITED', 'RATE_LIMITED']);
    });

    it('concurrentGenerations is one limit for both: a turn waits for one on the other, says so, and runs when that has ended', async () => {
      const admin = await a.signIn('hooli', 'admin@hooli.example');
      const [adminA, adminB] = [admin, b.caller(admin.token)];
      const running = await start(adminA, '[[emulate chunks=5 stall=true after=2]] Hm');
      for await (const { text } of follow(adminA, running.answerId)) if (text) break;
      const waiting = await start(adminB, 'And me?');
      const events: StreamedEvent[] = [];
      for await (const event of follow(adminB, waiting.answerId)) {
        events.push(event);
        if (event.__typename === 'MessageQueued') await adminB.run(CANCEL, { input: { messageId: running.answerId } });
      }
      expect(events[0]).toMatchObject({ __typename: 'MessageQueued', sequence: 1 });
      expect(events.at(-1)).toMatchObject({ __typename: 'MessageCompleted' });
    });

    it('deleting a conversation on the other ends its turn, and nothing of it stays', async () => {
      const { conversationId, answerId } = await start(atA, '[[emulate chunks=5 stall=true after=2]] Hm');
      const end = all(follow(atA, answerId));
      for await (const { text } of follow(atB, answerId)) if (text) break;
      const remove =
        'mutation($input: DeleteConversationInput!) { deleteConversation(input: $input) { deletedConversationId } }';
      await atB.run(remove, { input: { conversationId } });
      await end.catch(() => []);
      expect((await atA.run(MESSAGE, { id: answerId })).data.message).toBeNull();
    });

    describe('while Redis goes away, and after it is back, empty', () => {
      const isUp = async (world: World) => (await scrape(world.product.adminUrl)).sum('bedrock_graphql_redis_up') === 1;
      const both = async (up: boolean) => {
        for (const world of [a, b]) await expect.poll(() => isUp(world), { timeout: 10_000 }).toBe(up);
      };

      it('turns complete and are stored, readers on the other are told to resume, limits hold in each, and then all is as before', async () => {
        const admin = await a.signIn('umbrella', 'admin@umbrella.example');
        const { answerId } = await start(atA, '[[emulate chunks=60 delayMs=20]] Tell me about refunds');
        const own = all(follow(atA, answerId));
        const seen: StreamedEvent[] = [];
        const broken = (async () => {
          for await (const event of follow(atB, answerId)) {
            seen.push(event);
            if (seen.length === 5) void redis.kill();
          }
        })();
        await expect(broken).rejects.toMatchObject({ code: 'INTERRUPTED', retryable: true });
        // The same instance again, at once: the answer's end, as soon as it is stored.
        const rest = await all(follow(atB, answerId, seen.at(-1)!.sequence));
        const events = await own;
        expect(events.map(({ sequence }) => sequence)).toEqual(events.map((_, n) => n + 1));
        expect(events.at(-1)).toMatchObject({ __typename: 'MessageCompleted' });
        expect(textOf(events)).toBe(events.at(-1)!.message!.content);
        expect(rest.map(({ __typename, message }) => [__typename, message?.content])).toEqual([
          ['MessageCompleted', textOf(events)],
        ]);

        await both(false);
        const codes: (string | undefined)[] = [];
        const callers = [admin, b.caller(admin.token)];
        for (let n = 0; n < 2 * LIMIT; n++) codes.push((await callers[n % 2]!.run('{ tenant { id } }')).code);
        expect(codes.filter((code) => code === undefined)).toHaveLength(LIMIT); // half of it in each
        const next = await start(atB, '[[emulate chunks=5]] Still there?', { waitForCompletion: true });
        expect((await atA.run(MESSAGE, { id: next.answerId })).data.message.status).toBe('COMPLETED');

        await redis.restart();
        await both(true);
        const again = await start(atA, '[[emulate chunks=30 delayMs=5]] Tell me about refunds');
        const followed = await all(follow(atB, again.answerId));
        expect(followed.length).toBeGreaterThan(10);
        expect(textOf(followed)).toBe(followed.at(-1)!.message!.content);
      });
    });
  },
);
