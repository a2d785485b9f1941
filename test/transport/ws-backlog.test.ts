import { once } from 'node:events';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { createEventQueue, type EventQueue } from '../../src/kernel/event-queue.ts';
import { createTestClock, settle, type TestClock } from '../support/clock.ts';
import { openSocket, type RawSocket } from '../support/raw-socket.ts';
import { startSmallApi } from '../support/small-api.ts';
import { SEND, startWorld, STREAM, type World } from '../support/world.ts';

const KB = 1024;
const MB = 1024 * KB;
const BACKLOG_BYTES = 64 * KB;
/** What one event must hold for the buffers of the two kernels not to take all of it. */
const LARGE = 'x'.repeat(32 * MB);
const TOO_SLOW = { code: 1013, reason: 'Reading too slowly' };

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function until(done: () => boolean | Promise<boolean>) {
  while (!(await done())) await settle();
}

const tcp = ({ socket }: RawSocket) => (socket as unknown as { _socket: { pause(): void; resume(): void } })._socket;
const pause = (socket: RawSocket) => void tcp(socket).pause();
const resume = (socket: RawSocket) => void tcp(socket).resume();

async function open(url: string, payload: object = {}): Promise<RawSocket> {
  const socket = await openSocket(url);
  cleanups.push(() => socket.socket.terminate());
  await socket.init(payload);
  return socket;
}

/** An API whose subscriptions say what the test pushes, to one reader after the other in the order of their subscribing. */
async function startApi({ clock = createTestClock() }: { readonly clock?: TestClock } = {}) {
  const readers: EventQueue<{ text: string }>[] = [];
  const counts = { executed: 0, left: 0, pulled: 0 };
  const subscribe = () => {
    const queue = createEventQueue<{ text: string }>({ onEnd: () => counts.left++ });
    readers.push(queue);
    return queue;
  };
  const endless = () => ({
    next: () => Promise.resolve({ value: { endless: String(++counts.pulled) + LARGE }, done: false }),
    return: () => Promise.resolve({ value: undefined, done: true }),
    [Symbol.asyncIterator]() {
      return this;
    },
  });
  const api = await startSmallApi({
    clock,
    socketBacklogBytes: BACKLOG_BYTES,
    typeDefs:
      'type Query { large: String count: Int } type Mutation { act: Int } type Subscription { text: String endless: String }',
    resolvers: {
      Query: { large: () => LARGE },
      Mutation: { act: () => ++counts.executed },
      Subscription: { text: { subscribe }, endless: { subscribe: endless } },
    },
  });
  cleanups.push(() => api.stop());
  return { ...api, clock, readers, counts, tooSlow: () => api.logText().includes('socket read too slowly') };
}

type Api = Awaited<ReturnType<typeof startApi>>;

const pingsOf = (payload: string) => (socket: RawSocket) => socket.send({ type: 'ping', payload: { payload } });

/** What a client that does not read can make the server want to send. */
const FLOODS: Readonly<Record<string, (socket: RawSocket, n: number) => void>> = {
  'pings of the protocol, whose payload comes back': pingsOf('x'.repeat(256 * KB)),
  'queries with large answers': ({ subscribe }, n) => subscribe(`query ${n}`, '{ large }'),
};

/** Floods until the server has had enough. */
async function flood(api: Api, socket: RawSocket, send: (socket: RawSocket, n: number) => void) {
  for (let n = 0; n < 1_000 && !api.tooSlow(); n++) {
    send(socket, n);
    await settle(5);
  }
  expect(api.tooSlow()).toBe(true);
}

describe.each(Object.entries(FLOODS))('a client that does not read and sends %s', (_name, send) => {
  it('is closed with 1013, which it finds when it reads on', async () => {
    const api = await startApi();
    const socket = await open(api.wsUrl);
    pause(socket);
    await flood(api, socket, send);
    resume(socket);
    expect(await socket.closed).toEqual(TOO_SLOW);
    await until(() => api.sockets() === 0);
    expect(api.clock.pending()).toBe(0);
  });

  it('is cut off 2 s later if it still does not read, and not earlier', async () => {
    const api = await startApi();
    const socket = await open(api.wsUrl);
    pause(socket);
    await flood(api, socket, send);
    await api.clock.advance(1_999);
    expect(api.sockets()).toBe(1);
    await api.clock.advance(1);
    await until(() => api.sockets() === 0);
    expect(api.clock.pending()).toBe(0);
    expect(api.logText()).not.toContain('socket fault'); // what it did not read could not be written
  });
});

it('pings of the socket itself, unread, end it as well: ws keeps no more than 60 answers', async () => {
  const api = await startApi();
  const socket = await open(api.wsUrl);
  pause(socket);
  for (let n = 0; n < 1_000 && api.sockets() > 0; n++) {
    for (let sent = 0; sent < 1_000; sent++) socket.socket.ping('x'.repeat(125));
    await settle(5);
  }
  expect(api.sockets()).toBe(0);
});

describe('once a socket is closed for slowness', () => {
  it('its subscriptions end at once, and nothing it sends is executed any more', async () => {
    const api = await startApi();
    const socket = await open(api.wsUrl);
    for (const id of ['1', '2']) socket.subscribe(id, 'subscription { text }');
    await until(() => api.readers.length === 2);
    pause(socket);
    await flood(api, socket, pingsOf('x'.repeat(256 * KB)));
    expect(api.counts.left).toBe(2);
    expect(api.sockets()).toBe(1); // it is still there
    for (const n of [1, 2, 3]) socket.subscribe(`late ${n}`, 'mutation { act }');
    socket.subscribe('late 4', 'subscription { text }');
    resume(socket);
    expect(await socket.closed).toEqual(TOO_SLOW);
    expect(api.counts.executed).toBe(0);
    expect(api.readers).toHaveLength(2);
  });

  it('the operation that finds it too slow is not executed either', async () => {
    const api = await startApi();
    const socket = await open(api.wsUrl);
    socket.subscribe('1', 'subscription { text }');
    await until(() => api.readers.length === 1);
    pause(socket);
    api.readers[0]?.push({ text: LARGE });
    await settle();
    expect(api.tooSlow()).toBe(false);
    socket.subscribe('2', 'mutation { act }');
    await until(api.tooSlow);
    resume(socket);
    expect(await socket.closed).toEqual(TOO_SLOW);
    expect(api.counts.executed).toBe(0);
  });

  it('by the event of another of its subscriptions, both end, and other sockets hear everything', async () => {
    const api = await startApi();
    const slow = await open(api.wsUrl);
    const other = await open(api.wsUrl);
    for (const [socket, id] of [
      [slow, '1'],
      [slow, '2'],
      [other, '1'],
    ] as const) {
      const before = api.readers.length;
      socket.subscribe(id, 'subscription { text }');
      await until(() => api.readers.length === before + 1);
    }
    pause(slow);
    api.readers[0]?.push({ text: LARGE });
    await settle();
    expect(api.tooSlow()).toBe(false);
    api.readers[1]?.push({ text: 'one more' });
    await until(api.tooSlow);
    await until(() => api.counts.left === 2);
    for (const text of ['a', 'b']) api.readers[2]?.push({ text });
    expect(await other.next()).toMatchObject({ payload: { data: { text: 'a' } } });
    expect(await other.next()).toMatchObject({ payload: { data: { text: 'b' } } });
  });
});

describe('a reader of one stream', () => {
  it('gets an event of any size, and what follows it', async () => {
    const api = await startApi();
    const socket = await open(api.wsUrl);
    socket.subscribe('1', 'subscription { text }');
    await until(() => api.readers.length === 1);
    for (const text of [LARGE, 'small', LARGE]) api.readers[0]?.push({ text });
    for (const text of [LARGE, 'small', LARGE]) {
      const { payload } = await socket.next();
      expect(payload.data.text === text).toBe(true); // a difference would be a long one
    }
  });

  it('costs one event while it does not read: the next one is not asked for', async () => {
    const api = await startApi();
    const socket = await open(api.wsUrl);
    pause(socket);
    socket.subscribe('1', 'subscription { endless }');
    await until(() => api.counts.pulled > 0);
    await settle(200);
    expect(api.counts.pulled).toBe(1);
    expect(api.tooSlow()).toBe(false);
    resume(socket);
    await socket.next();
    await until(() => api.counts.pulled > 1);
  });

  it('that answers no ping for 12 s is dropped (1006)', async () => {
    const api = await startApi();
    vi.useFakeTimers({ toFake: ['setTimeout', 'setInterval', 'clearTimeout', 'clearInterval'] });
    cleanups.push(() => vi.useRealTimers());
    const reading = await open(api.wsUrl);
    const frozen = await open(api.wsUrl);
    pause(frozen);
    const pinged = once(reading.socket, 'ping');
    await vi.advanceTimersByTimeAsync(12_000);
    await pinged;
    await settle();
    await vi.advanceTimersByTimeAsync(11_999);
    expect(api.sockets()).toBe(2);
    await vi.advanceTimersByTimeAsync(1);
    await until(() => api.sockets() === 1);
    resume(frozen);
    expect(await frozen.closed).toMatchObject({ code: 1006 });
    expect(reading.socket.readyState).toBe(reading.socket.OPEN);
  });
});

describe('an answer whose reader was too slow', () => {
  const clock = createTestClock();
  let world: World;
  beforeAll(async () => {
    const bedrock = { kind: 'emulated', chunksPerSecond: 1_000_000 } as const;
    world = await startWorld({ clock, config: { bedrock, socketBacklogBytes: BACKLOG_BYTES } });
  });
  afterAll(async () => {
    let stopped = false;
    const stopping = world.stop().finally(() => (stopped = true));
    while (!stopped) await clock.advance(1_000);
    await stopping;
  });

  it('goes on from where it read, without a gap', async () => {
    const { member } = world.acme;
    const credentials = { authorization: `Bearer ${member.token}` };
    const input = {
      conversationId: await member.createConversation(),
      content: '[[emulate chunks=60 delayMs=100]] hi',
    };
    const { data } = await member.run(SEND, { input });
    const messageId = data.sendMessage.assistantMessage.id as string;
    const texts: string[] = [];
    const sequences: number[] = [];
    let content: string | null = null;

    /** Reads until the socket ends, or the answer does. */
    async function read(socket: RawSocket) {
      for (let closed = false; !closed;) {
        const message = await socket.next().catch(() => null);
        if (message?.type === 'next') {
          const event = message.payload.data.messageStream;
          sequences.push(event.sequence);
          texts.push(event.text ?? '');
          content = event.message?.content ?? null;
        }
        closed = message === null || message.type === 'complete';
      }
    }

    const slow = await open(world.wsUrl, credentials);
    slow.subscribe('1', STREAM, { messageId });
    const { payload } = await slow.next();
    sequences.push(payload.data.messageStream.sequence);
    texts.push(payload.data.messageStream.text);
    pause(slow);
    for (let n = 0; n < 30; n++) {
      pingsOf('x'.repeat(MB - KB))(slow);
      await clock.advance(10);
    }
    resume(slow);
    await read(slow);
    expect(await slow.closed).toEqual(TOO_SLOW);
    expect(content).toBeNull();

    const again = await open(world.wsUrl, credentials);
    again.subscribe('1', STREAM, { messageId, after: sequences.at(-1) });
    let whole = false;
    const reading = read(again).then(() => (whole = true));
    while (!whole) await clock.advance(100);
    await reading;
    expect(sequences).toEqual(sequences.map((_sequence, index) => index + 1));
    expect(texts.join('')).toBe(content);
  });
});
