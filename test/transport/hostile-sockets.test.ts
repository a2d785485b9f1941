import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { CloseCode } from 'graphql-ws';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { createEventQueue, type EventQueue } from '../../src/kernel/event-queue.ts';
import { createTestClock, settle } from '../support/clock.ts';
import { openSocket, type RawSocket } from '../support/raw-socket.ts';
import { startSmallApi } from '../support/small-api.ts';
import { testConfig } from '../support/world.ts';

const SUBSCRIPTIONS_MAX = 100;
const SOCKETS_MAX = 20;
const MB = 1024 * 1024;
const FOLLOW = 'subscription { text }';

const clock = createTestClock();
const sources = new Set<EventQueue<{ text: string }>>();
const subscribe = () => {
  const queue = createEventQueue<{ text: string }>({ onEnd: () => sources.delete(queue) });
  sources.add(queue);
  return queue;
};

let api: Awaited<ReturnType<typeof startSmallApi>>;
let atRest: object;
beforeAll(async () => {
  const { operationLimits } = testConfig();
  api = await startSmallApi({
    clock,
    typeDefs: 'type Query { ok: Int } type Subscription { text: String }',
    resolvers: { Query: { ok: () => 1 }, Subscription: { text: { subscribe } } },
    operationLimits: {
      ...operationLimits,
      subscriptions: { ...operationLimits.subscriptions, perConnection: SUBSCRIPTIONS_MAX },
      sockets: { perUser: SOCKETS_MAX, perTenant: SOCKETS_MAX },
    },
  });
  atRest = held();
});
afterAll(() => api.stop());

/** What the server holds for its sockets. */
function held() {
  const events = ['upgrade', 'connection', 'request', 'close', 'error'];
  return {
    sockets: api.sockets(),
    counted: api.socketCounts.size() + api.subscriptions.size(),
    sources: sources.size,
    timers: clock.pending(),
    listeners: events.map((event) => api.server.listenerCount(event)),
  };
}

async function until(done: () => boolean) {
  while (!done()) await settle();
}

const opened: RawSocket[] = [];
/** However a client ended, nothing of it is left. */
afterEach(async () => {
  for (const { socket } of opened.splice(0)) socket.terminate();
  await until(() => api.sockets() === 0 && sources.size === 0 && api.subscriptions.size() === 0);
  await settle();
  expect(held()).toEqual(atRest);
});

async function open(): Promise<RawSocket> {
  const socket = await openSocket(api.wsUrl);
  opened.push(socket);
  return socket;
}

async function acknowledged(): Promise<RawSocket> {
  const socket = await open();
  await socket.init();
  return socket;
}

async function expectServed(socket: RawSocket) {
  socket.subscribe('served', '{ ok }');
  expect(await socket.next()).toMatchObject({ id: 'served', payload: { data: { ok: 1 } } });
}

const tcp = ({ socket }: RawSocket) =>
  (socket as unknown as { _socket: NodeJS.WritableStream & { resetAndDestroy(): void } })._socket;

/** A frame of RFC 6455, 5.2, of less than 126 bytes, masked with zeros. */
const frame = (opcode: number, payload: Buffer) =>
  Buffer.concat([Buffer.from([0x80 | opcode, 0x80 | payload.length, 0, 0, 0, 0]), payload]);
const [TEXT, CLOSE, RESERVED] = [1, 8, 3];

/** What a client does, on a socket that was acknowledged where `ready`, and how its socket is closed. */
const ATTACKS: readonly [string, number, boolean, (socket: RawSocket) => unknown][] = [
  ['an operation before the connection was opened', 4401, false, ({ subscribe }) => subscribe('1', '{ ok }')],
  [
    'a thousand of them',
    4401,
    false,
    ({ subscribe }) => Array.from({ length: 1_000 }, (_, n) => subscribe(`${n}`, FOLLOW)),
  ],
  ['a bad token', 4403, false, ({ send }) => send({ type: 'connection_init', payload: { authorization: 'Bearer x' } })],
  ['a second connection_init', 4429, true, ({ send }) => send({ type: 'connection_init' })],
  ['one id twice', 4409, true, ({ subscribe }) => [1, 2].map(() => subscribe('1', FOLLOW))],
  ['no JSON', 4400, true, ({ send }) => send('{')],
  ['binary nonsense', 4400, true, ({ send }) => send(Buffer.from([0xff, 0x00, 0x7b]))],
  ['text that is no UTF-8', 1007, true, (socket) => tcp(socket).write(frame(TEXT, Buffer.from([0xc3, 0x28])))],
  [
    'a frame of a kind that does not exist',
    1002,
    true,
    (socket) => tcp(socket).write(frame(RESERVED, Buffer.alloc(1))),
  ],
  ['a message over the limit', 1009, true, ({ send }) => send('x'.repeat(MB + 1))],
  [
    'one over it in fragments',
    1009,
    true,
    ({ socket }) => Array.from({ length: 20 }, () => socket.send('x'.repeat(MB / 16), { fin: false })),
  ],
];
const seen = new Set<number>();

it.each(ATTACKS)('%s closes the socket with %i, and leaves nothing', async (_name, code, ready, attack) => {
  const socket = await (ready ? acknowledged() : open());
  attack(socket);
  expect((await socket.closed).code).toBe(code);
  seen.add(code);
});

it('10,000 subscriptions on one socket: as many as may be are open, the rest are refused, and all end with it', async () => {
  const socket = await acknowledged();
  for (let n = 0; n < 10_000; n++) socket.subscribe(`${n}`, FOLLOW);
  for (let refused = 0; refused < 10_000 - SUBSCRIPTIONS_MAX;) {
    const { type, payload } = await socket.next();
    if (type !== 'next') continue;
    expect(payload.errors[0].extensions).toMatchObject({ code: 'SUBSCRIPTION_LIMIT', limit: SUBSCRIPTIONS_MAX });
    refused++;
  }
  expect(sources.size).toBe(SUBSCRIPTIONS_MAX);
  await until(() => api.subscriptions.size() > 0);
  socket.socket.close();
  await socket.closed;
});

it('500 that are given up at once leave nothing, and their socket is served', async () => {
  const socket = await acknowledged();
  for (let n = 0; n < 500; n++) {
    socket.subscribe(`${n}`, FOLLOW);
    socket.send({ type: 'complete', id: `${n}` });
  }
  socket.send({ type: 'ping' });
  while ((await socket.next()).type !== 'pong'); // some were refused, for want of room
  await until(() => sources.size === 0 && api.subscriptions.size() === 0);
  await expectServed(socket);
});

it('more sockets than one may have are closed with 1013, and there is room again when others have gone', async () => {
  const sockets = await Promise.all(Array.from({ length: SOCKETS_MAX }, acknowledged));
  const more = await open();
  more.send({ type: 'connection_init' });
  expect(await more.closed).toEqual({ code: 1013, reason: 'Too many sockets' });
  seen.add(1013);
  sockets[0]?.socket.close();
  await sockets[0]?.closed;
  await until(() => api.sockets() === SOCKETS_MAX - 1);
  await expectServed(await acknowledged());
});

it('5,000 pings of the protocol are answered; as many of the socket itself, more than ws answers at once, cut it off', async () => {
  const socket = await acknowledged();
  for (let n = 0; n < 5_000; n++) socket.send({ type: 'ping' });
  for (let n = 0; n < 5_000; n++) expect((await socket.next()).type).toBe('pong');
  await expectServed(socket);
  for (let n = 0; n < 5_000; n++) socket.socket.ping();
  expect((await socket.closed).code).toBe(1006);
});

it('a message in a hundred fragments, with pings between them, is one message', async () => {
  const socket = await acknowledged();
  const message = JSON.stringify({ type: 'subscribe', id: '1', payload: { query: `{ ok } #${'x'.repeat(500)}` } });
  const size = Math.ceil(message.length / 100);
  for (let at = 0; at < message.length; at += size) {
    socket.socket.send(message.slice(at, at + size), { fin: at + size >= message.length });
    if (at % 10 === 0) socket.socket.ping();
  }
  expect(await socket.next()).toMatchObject({ payload: { data: { ok: 1 } } });
});

describe('a client that goes in the middle of a stream', () => {
  const GOES: Readonly<Record<string, (socket: RawSocket) => unknown>> = {
    'with a reset': (socket) => tcp(socket).resetAndDestroy(),
    'without a word': ({ socket }) => socket.terminate(),
    'by closing its own direction': (socket) => tcp(socket).end(),
    'with a close that it does not wait for': (socket) => {
      tcp(socket).write(frame(CLOSE, Buffer.from([0x03, 0xe8])));
      tcp(socket).end();
    },
    'while a hundred of its subscriptions are being opened': (socket) => {
      for (let n = 0; n < 100; n++) socket.subscribe(`more ${n}`, FOLLOW);
      socket.socket.terminate();
    },
  };
  it.each(Object.entries(GOES))('%s leaves nothing', async (_name, go) => {
    const socket = await acknowledged();
    socket.subscribe('1', FOLLOW);
    await until(() => sources.size > 0);
    go(socket);
    if (socket.socket.readyState !== socket.socket.CLOSED) await once(socket.socket, 'close');
  });
});

it('500 sockets, one after the other, each with a subscription, leave no memory behind', async () => {
  const round = async (count: number) => {
    for (let n = 0; n < count; n++) {
      const socket = await openSocket(api.wsUrl);
      await socket.init();
      socket.subscribe('1', FOLLOW);
      socket.socket.terminate();
    }
    await until(() => api.sockets() === 0 && sources.size === 0);
    globalThis.gc?.();
    return process.memoryUsage().heapUsed;
  };
  const before = await round(100);
  expect((await round(400)) - before).toBeLessThan(16 * MB);
});

it('every code with which a socket was closed is documented, and so are those of the protocol that a server sends', () => {
  const text = readFileSync(join(import.meta.dirname, '../../docs/errors.md'), 'utf8');
  const table = text.slice(text.indexOf('## Closing codes of WebSockets'));
  const documented = new Set([...table.matchAll(/^\| (\d{4}) \|/gm)].map(([, code]) => Number(code)));
  // What only clients send (4004, 4005), or send to each other's servers (4504).
  const { BadResponse, InternalClientError, ConnectionAcknowledgementTimeout } = CloseCode;
  const ofServers = Object.values(CloseCode).filter(
    (code): code is CloseCode =>
      typeof code === 'number' && ![BadResponse, InternalClientError, ConnectionAcknowledgementTimeout].includes(code),
  );
  expect([...seen].sort()).toEqual([1002, 1007, 1009, 1013, 4400, 4401, 4403, 4409, 4429]);
  expect(documented).toEqual(new Set([...seen, ...ofServers, 1006, 1012]));
});
