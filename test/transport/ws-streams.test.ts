import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { createEventQueue, type EventQueue } from '../../src/kernel/event-queue.ts';
import { turnMessages } from '../../src/conversations/turn-end.ts';
import { isoTime } from '../../src/kernel/clock.ts';
import { parseTenantId } from '../../src/tenancy/tenant-id.ts';
import { createTestClock, settle } from '../support/clock.ts';
import { aTurn } from '../support/conversation-rows.ts';
import { openSocket, type RawSocket } from '../support/raw-socket.ts';
import { startSmallApi } from '../support/small-api.ts';
import { SEND, startWorld, STREAM, type Caller, type World } from '../support/world.ts';

const TOKEN_MS = 15_000;
const clock = createTestClock();
let world: World;
beforeAll(async () => {
  const jwt = {
    issuer: 'test',
    audience: 'test',
    accessTtlMs: TOKEN_MS,
    refreshTtlMs: 86_400_000,
    verificationKeys: [],
  };
  world = await startWorld({ clock, config: { jwt, bedrock: { kind: 'emulated', chunksPerSecond: 1_000_000 } } });
});
afterAll(async () => {
  let stopped = false;
  const stopping = world.stop().finally(() => (stopped = true));
  await until(() => stopped, 1_000); // what a failed test left running is waited for, on this clock
  await stopping;
});

const opened: RawSocket[] = [];
afterEach(() => opened.splice(0).forEach(({ socket }) => socket.terminate()));

async function socketOf(payload: object, url = world.wsUrl): Promise<RawSocket> {
  const socket = await openSocket(url);
  opened.push(socket);
  await socket.init(payload);
  return socket;
}

const member = () => world.signIn('acme', 'member@acme.example');
/** How long a caller's token is still good: it ends at a whole second. */
const lifeLeftMs = ({ token }: Caller): number => {
  const { exp } = JSON.parse(Buffer.from(token!.split('.')[1]!, 'base64url').toString('utf8')) as { exp: number };
  return exp * 1000 - clock.now();
};
const bearer = ({ token }: Caller) => ({ authorization: `Bearer ${token}` });

/** A turn that goes on as long as the clock stands still. */
async function begin(caller: Caller, content: string): Promise<string> {
  const conversationId = await caller.createConversation();
  const { data } = await caller.run(SEND, { input: { conversationId, content } });
  return data.sendMessage.assistantMessage.id as string;
}

const ENDLESS = '[[emulate chunks=100 delayMs=600000]] hello';

/** An answer that is being written and has no stream, as the crash of its process leaves it. Nobody will end it. */
async function leaveBehind(caller: Caller): Promise<string> {
  const stores = world.product.dataOf(parseTenantId('acme')!);
  const [conversation] = await stores.conversations.getMany([await caller.createConversation()]);
  const turn = aTurn(conversation!);
  const [, answer] = turnMessages({ ...turn, sequence: 1 }, conversation!, isoTime(clock.now()));
  await stores.messages.add(answer, turn);
  return answer.id;
}

async function cancel(caller: Caller, messageId: string) {
  const query = 'mutation($input: CancelMessageInput!) { cancelMessage(input: $input) { message { status } } }';
  let answered = false;
  const answer = caller.run(query, { input: { messageId } }).finally(() => (answered = true));
  await until(() => answered, 1);
  expect((await answer).data.cancelMessage.message.status).toBe('CANCELLED');
}

/** Follows an answer, and waits for the first of its events. */
async function follow(socket: RawSocket, id: string, messageId: string) {
  socket.subscribe(id, STREAM, { messageId });
  expect(await socket.next()).toMatchObject({
    id,
    type: 'next',
    payload: { data: { messageStream: { sequence: 1 } } },
  });
}

interface Ending {
  readonly codes: readonly string[];
  readonly completed: boolean;
}

/** How each of these subscriptions ends. Never more than some messages are read: one that does not end must not go on for ever. */
async function endings(socket: RawSocket, ids: readonly string[]): Promise<Map<string, Ending>> {
  const ends = new Map<string, Ending>(ids.map((id) => [id, { codes: [], completed: false }]));
  for (let n = 0; n < 20 && [...ends.values()].some(({ completed }) => !completed); n++) {
    const { type, id = '', payload } = await socket.next();
    const { codes, completed } = ends.get(id) ?? { codes: [], completed: false };
    const errors = (payload?.errors ?? []) as readonly { readonly extensions: { readonly code: string } }[];
    ends.set(id, {
      codes: [...codes, ...errors.map(({ extensions }) => extensions.code)],
      completed: completed || type === 'complete',
    });
  }
  return ends;
}

/** Lets everything go on until `done`; the clock moves only as far as is needed. */
async function until(done: () => boolean | Promise<boolean>, stepMs = 0) {
  while (!(await done())) await (stepMs > 0 ? clock.advance(stepMs) : settle());
}

/** What comes when the time goes on: a check that was under way when its moment came sets a timer that is due at once. */
async function inTime<T>(coming: Promise<T>): Promise<T> {
  let come = false;
  void coming.finally(() => (come = true));
  await until(() => come, 1);
  return coming;
}

/** How many readers wait for their turn to be repaired: that is how long until they look again. */
const waiting = () => clock.pending(2_000);

describe('when the token ends', () => {
  it('every subscription is told UNAUTHENTICATED and completes, and then the socket is closed with 4403', async () => {
    const caller = await member();
    const messageIds = [await begin(caller, ENDLESS), await begin(caller, ENDLESS)];
    const socket = await socketOf(bearer(caller));
    for (const messageId of messageIds) socket.subscribe(messageId, STREAM, { messageId });
    const started = new Set<string | undefined>();
    while (started.size < 2) started.add((await socket.next()).id);

    await clock.advance(TOKEN_MS);
    const told = { codes: ['UNAUTHENTICATED'], completed: true };
    expect(await inTime(endings(socket, messageIds))).toEqual(new Map(messageIds.map((id) => [id, told])));
    expect(await inTime(socket.closed)).toMatchObject({ code: 4403 });

    // The answers themselves go on: a reader with a fresh token finds them.
    const fresh = await member();
    for (const messageId of messageIds) await cancel(fresh, messageId);
  });

  it('not a moment earlier', async () => {
    const caller = await member();
    const messageId = await begin(caller, ENDLESS);
    const socket = await socketOf(bearer(caller));
    await follow(socket, '1', messageId);
    await clock.advance(lifeLeftMs(caller) - 1);
    socket.subscribe('2', '{ viewer { name } }');
    const messages = await socket.until('complete');
    expect(messages.at(-1)).toMatchObject({ id: '2' });
    for (const { payload } of messages) expect(payload?.errors).toBeUndefined();
    await cancel(await member(), messageId);
  });

  it('a socket with nothing on it is closed with 4403; one without a token stays', async () => {
    const nobody = await socketOf({});
    const idle = await socketOf(bearer(await member()));
    await clock.advance(TOKEN_MS);
    expect(await inTime(idle.closed)).toMatchObject({ code: 4403 });
    nobody.subscribe('1', '{ __typename }');
    expect(await nobody.next()).toMatchObject({ payload: { data: { __typename: 'Query' } } });
  });

  it('a subscription that waits for its turn to be repaired is ended too', async () => {
    const caller = await member();
    const messageId = await leaveBehind(caller);
    const socket = await socketOf(bearer(caller));
    socket.subscribe('1', STREAM, { messageId });
    await until(() => waiting() === 1);
    await clock.advance(TOKEN_MS);
    expect(await inTime(endings(socket, ['1']))).toEqual(
      new Map([['1', { codes: ['UNAUTHENTICATED'], completed: true }]]),
    );
    expect(await inTime(socket.closed)).toMatchObject({ code: 4403 });
  });
});

describe('a reader who leaves', () => {
  let api: Awaited<ReturnType<typeof startSmallApi>>;
  const sources = new Set<EventQueue<{ n: number }>>();
  let slow = Promise.withResolvers<void>();
  const open = () => {
    const queue: EventQueue<{ n: number }> = createEventQueue({ onEnd: () => sources.delete(queue) });
    sources.add(queue);
    return queue;
  };
  const subscription = (subscribe: () => unknown) => ({ subscribe });
  beforeAll(async () => {
    api = await startSmallApi({
      typeDefs: 'type Query { ok: Int } type Subscription { n: Int slowly: Int }',
      resolvers: {
        Subscription: {
          n: subscription(open),
          slowly: { ...subscription(() => slow.promise.then(open)), resolve: ({ n }: { n: number }) => n },
        },
      },
    });
  });
  afterAll(() => api.stop());

  const LEAVE: Readonly<Record<string, (socket: RawSocket) => void>> = {
    'by unsubscribing': ({ send }) => send({ type: 'complete', id: '1' }),
    'by closing its socket': ({ socket }) => socket.close(),
    'by a reset': ({ socket }) =>
      (socket as unknown as { _socket: { resetAndDestroy(): void } })._socket.resetAndDestroy(),
  };

  it.each(Object.entries(LEAVE))(
    '%s frees what it read from at once, although nothing was there to read',
    async (_name, leave) => {
      const socket = await socketOf({}, api.wsUrl);
      socket.subscribe('1', 'subscription { n }');
      await until(() => sources.size === 1);
      [...sources][0]?.push({ n: 1 });
      expect(await socket.next()).toMatchObject({ payload: { data: { n: 1 } } });
      leave(socket);
      await until(() => sources.size === 0);
    },
  );

  it('one that leaves while its subscription is still being opened leaves nothing behind', async () => {
    slow = Promise.withResolvers();
    const socket = await socketOf({}, api.wsUrl);
    socket.subscribe('1', 'subscription { slowly }');
    socket.send({ type: 'complete', id: '1' });
    socket.send({ type: 'ping' });
    await socket.until('pong'); // everything before it was taken in
    slow.resolve();
    await settle();
    expect(sources.size).toBe(0);
  });

  it('one subscription of a socket goes, the other stays', async () => {
    const socket = await socketOf({}, api.wsUrl);
    socket.subscribe('1', 'subscription { n }');
    socket.subscribe('2', 'subscription { n }');
    await until(() => sources.size === 2);
    socket.send({ type: 'complete', id: '1' });
    await until(() => sources.size === 1);
    [...sources][0]?.push({ n: 7 });
    expect(await socket.next()).toMatchObject({ id: '2', payload: { data: { n: 7 } } });
    [...sources][0]?.end();
    expect(await socket.next()).toEqual({ id: '2', type: 'complete' });
    await until(() => sources.size === 0);
  });

  it('a log line says that the subscription ended, once', async () => {
    const before = api.logLines.filter(({ operation }) => operation).length;
    const socket = await socketOf({}, api.wsUrl);
    socket.subscribe('1', 'subscription { n }');
    await until(() => sources.size === 1);
    [...sources][0]?.push({ n: 1 });
    await socket.next();
    socket.socket.close();
    await until(() => sources.size === 0);
    const ends = api.logLines.filter(({ operation }) => operation).slice(before);
    expect(ends.map(({ operation }) => [operation?.type, operation?.events])).toEqual([['subscription', 1]]);
  });

  it('of a turn that waits for repair sets no timer any more', async () => {
    const caller = await member();
    const messageId = await leaveBehind(caller);
    const socket = await socketOf(bearer(caller));
    for (const id of ['1', '2', '3']) socket.subscribe(id, STREAM, { messageId });
    await until(() => waiting() === 3);
    for (const id of ['1', '2']) socket.send({ type: 'complete', id });
    await until(() => waiting() === 1);
    socket.socket.terminate();
    await until(() => waiting() === 0);
  });
});

it('100 readers of several turns, early, late and resuming, each get every event in order and without a gap', async () => {
  const CHUNKS = 60;
  const caller = await member();
  const messageIds: string[] = [];
  for (let turn = 0; turn < 5; turn++)
    messageIds.push(await begin(caller, `[[emulate chunks=${CHUNKS} delayMs=10]] question ${turn}`));

  interface Reader {
    readonly messageId: string;
    readonly after: number;
    readonly events: { sequence: number; messageId: string; text?: string; message?: { content: string } }[];
    completed: boolean;
  }
  const readers: Reader[] = [];
  const work: Promise<void>[] = [];
  async function read(reader: Reader) {
    const socket = await socketOf(bearer(caller));
    socket.subscribe('1', STREAM, { messageId: reader.messageId, after: reader.after });
    for (;;) {
      const { type, payload } = await socket.next();
      if (type === 'complete') break;
      expect(payload.errors).toBeUndefined();
      reader.events.push(payload.data.messageStream);
    }
    reader.completed = true;
  }
  function join(messageId: string, after: number) {
    const reader: Reader = { messageId, after, events: [], completed: false };
    readers.push(reader);
    work.push(read(reader));
  }

  for (let n = 0; n < 75; n++) join(messageIds[n % 5]!, 0);
  await until(() => readers.every(({ events }) => events.length > 0)); // all of them are there before anything ends
  expect(readers.some(({ events }) => events.some((event) => 'message' in event))).toBe(false);
  await until(() => readers.every(({ events }) => events.length >= 20), 10);
  for (let n = 0; n < 25; n++) join(messageIds[n % 5]!, n % 3 === 0 ? 0 : 5 + n);
  await until(() => readers.every(({ completed }) => completed), 10);
  await Promise.all(work);

  expect(readers).toHaveLength(100);
  const whole = new Map(messageIds.map((id) => [id, readers.find(({ messageId }) => messageId === id)!.events]));
  for (const [messageId, events] of whole) {
    expect(events.map(({ sequence }) => sequence)).toEqual(events.map((_event, index) => index + 1));
    expect(events.filter((event) => 'message' in event)).toHaveLength(1);
    expect(events.map(({ text = '' }) => text).join('')).toBe(events.at(-1)?.message?.content);
    expect(events.every((event) => event.messageId === messageId)).toBe(true);
  }
  for (const { messageId, after, events } of readers) expect(events).toEqual(whole.get(messageId)!.slice(after));
});
