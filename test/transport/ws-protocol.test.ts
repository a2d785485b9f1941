import { connect } from 'node:net';
import { once } from 'node:events';
import { randomBytes } from 'node:crypto';
import WebSocket from 'ws';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { rawHttp } from '../support/raw-http.ts';
import { openSocket, type RawSocket } from '../support/raw-socket.ts';
import { startWorld, type World } from '../support/world.ts';

let world: World;
beforeAll(async () => {
  world = await startWorld();
});
afterAll(() => world.stop());

const opened: RawSocket[] = [];
afterEach(() => opened.splice(0).forEach(({ socket }) => socket.terminate()));

async function open(protocols?: string | string[]): Promise<RawSocket> {
  const socket = await openSocket(world.wsUrl, protocols);
  opened.push(socket);
  return socket;
}

const credentials = () => ({ authorization: `Bearer ${world.acme.member.token}` });

async function acknowledged(): Promise<RawSocket> {
  const socket = await open();
  expect(await socket.init(credentials())).toEqual({ type: 'connection_ack' });
  return socket;
}

/** Whether a client that behaves is still served, over a socket and over HTTP. */
async function expectServed() {
  const socket = await acknowledged();
  socket.subscribe('alive', '{ viewer { id } }');
  const [{ payload } = { payload: null }] = await socket.until('complete');
  expect(payload).toMatchObject({ data: { viewer: { id: world.acme.member.id } } });
  expect(await rawHttp(world.url).get('/livez')).toMatchObject({ status: 200 });
}

describe('close codes', () => {
  it('4408 without connection_init within its time', async () => {
    const { closed } = await open();
    expect(await closed).toMatchObject({ code: 4408 });
  });

  it('4401 for an operation before connection_init was acknowledged', async () => {
    const { subscribe, closed } = await open();
    subscribe('1', '{ viewer { id } }');
    expect(await closed).toMatchObject({ code: 4401 });
  });

  it('4403 for a bad token', async () => {
    const { send, closed } = await open();
    send({ type: 'connection_init', payload: { authorization: 'Bearer nonsense' } });
    expect(await closed).toEqual({ code: 4403, reason: 'Forbidden' });
  });

  it('4429 for a second connection_init', async () => {
    const { send, closed } = await acknowledged();
    send({ type: 'connection_init', payload: credentials() });
    expect(await closed).toMatchObject({ code: 4429 });
  });

  it('4429 also while the first one is still being looked at', async () => {
    const { send, closed } = await open();
    send({ type: 'connection_init', payload: credentials() });
    send({ type: 'connection_init', payload: {} });
    expect(await closed).toMatchObject({ code: 4429 });
  });

  it('4409 for an id that is in use', async () => {
    const conversationId = await world.acme.member.createConversation();
    const query = 'mutation($input: SendMessageInput!) { sendMessage(input: $input) { assistantMessage { id } } }';
    const input = { conversationId, content: '[[emulate stall=true]] hello' };
    const { data } = await world.acme.member.run(query, { input });
    const messageId = data.sendMessage.assistantMessage.id as string;
    const { subscribe, next, closed } = await acknowledged();
    subscribe('1', 'subscription($id: ID!) { messageStream(messageId: $id) { sequence } }', { id: messageId });
    await next();
    subscribe('1', '{ viewer { id } }');
    expect(await closed).toMatchObject({ code: 4409 });
    const cancel = 'mutation($input: CancelMessageInput!) { cancelMessage(input: $input) { message { status } } }';
    const cancelled = await world.acme.member.run(cancel, { input: { messageId } });
    expect(cancelled.data.cancelMessage.message.status).toBe('CANCELLED');
  });

  it.each([
    ['no JSON', 'hello'],
    ['no message type', '{}'],
    ['a type that does not exist', '{"type":"start","id":"1","payload":{"query":"{ viewer { id } }"}}'],
    ['a list', '[]'],
    ['null', 'null'],
    ['a subscribe without an id', '{"type":"subscribe","payload":{"query":"{ viewer { id } }"}}'],
    ['a subscribe with an empty id', '{"type":"subscribe","id":"","payload":{"query":"{ viewer { id } }"}}'],
    ['a subscribe without a query', '{"type":"subscribe","id":"1","payload":{}}'],
    ['a query that is no text', '{"type":"subscribe","id":"1","payload":{"query":{"a":1}}}'],
    ['variables that are no object', '{"type":"subscribe","id":"1","payload":{"query":"{a}","variables":"x"}}'],
    ['an empty message', ''],
  ])('4400 for %s', async (_name, message) => {
    const { send, closed } = await acknowledged();
    send(message);
    expect(await closed).toMatchObject({ code: 4400 });
  });

  it.each(['connection_ack', 'next', 'error'])('a %s, which only servers send, closes the socket', async (type) => {
    const { send, closed } = await acknowledged();
    send({ type, id: '1', payload: type === 'error' ? [{ message: 'x' }] : {} });
    expect((await closed).code).toBeGreaterThanOrEqual(4400);
    await expectServed();
  });

  it('4406 without the subprotocol', async () => {
    const { closed } = await open([]);
    expect(await closed).toMatchObject({ code: 4406 });
  });

  it.each([['graphql-ws'], ['mqtt'], ['graphql-transport-ws-2']])(
    'the subprotocol %s is never agreed on',
    async (name) => {
      const socket = new WebSocket(world.wsUrl, name);
      const [error] = (await once(socket, 'error')) as [Error];
      expect(error.message).toMatch(/subprotocol/i);
    },
  );
});

describe('a socket is opened at /graphql only', () => {
  it.each(['/', '/explorer', '/graphql/', '/graphqlx', '/%67raphql'])('%s is 404', async (path) => {
    const socket = new WebSocket(world.url.replace('http', 'ws') + path, 'graphql-transport-ws');
    const [error] = (await once(socket, 'error')) as [Error];
    expect(error.message).toMatch(/404/);
  });

  it('a query string changes nothing', async () => {
    const socket = await openSocket(`${world.wsUrl}?x=1`);
    expect(await socket.init(credentials())).toEqual({ type: 'connection_ack' });
    socket.socket.terminate();
  });
});

describe('what a client does to its socket harms nobody else', () => {
  it('a binary frame of nonsense closes the socket, and no more', async () => {
    const { send, closed } = await acknowledged();
    send(randomBytes(512));
    expect([4400, 1007]).toContain((await closed).code);
    await expectServed();
  });

  it('a frame over 1 MB is refused (1009) before it is read', async () => {
    const { send, closed } = await acknowledged();
    send(`{"type":"ping","payload":{"a":"${'x'.repeat(1024 * 1024)}"}}`);
    expect(await closed).toMatchObject({ code: 1009 });
    await expectServed();
  });

  it('a message of 1 MB in many fragments is refused too', async () => {
    const { socket, closed } = await acknowledged();
    for (let sent = 0; sent < 20; sent++) socket.send('x'.repeat(64 * 1024), { fin: false });
    socket.send('x', { fin: true });
    expect(await closed).toMatchObject({ code: 1009 });
    await expectServed();
  });

  it('frames that break the protocol are refused', async () => {
    const { socket, closed } = await acknowledged();
    // Reserved bits set, unmasked: RFC 6455, 5.1 and 5.2.
    (socket as unknown as { _socket: NodeJS.WritableStream })._socket.write(Buffer.from([0xff, 0x05, 1, 2, 3, 4, 5]));
    expect([1002, 1006]).toContain((await closed).code);
    await expectServed();
  });

  it('a reset in the middle of a stream', async () => {
    const conversationId = await world.acme.member.createConversation();
    const query = 'mutation($input: SendMessageInput!) { sendMessage(input: $input) { assistantMessage { id } } }';
    const content = '[[emulate chunks=30 stall=true after=20]] hello';
    const { data } = await world.acme.member.run(query, { input: { conversationId, content } });
    const messageId = data.sendMessage.assistantMessage.id as string;
    const { subscribe, next, socket } = await acknowledged();
    subscribe('1', 'subscription($id: ID!) { messageStream(messageId: $id) { sequence } }', { id: messageId });
    await next();
    (socket as unknown as { _socket: { resetAndDestroy(): void } })._socket.resetAndDestroy();
    await once(socket, 'close');
    await expectServed();
    const cancel = 'mutation($input: CancelMessageInput!) { cancelMessage(input: $input) { message { status } } }';
    const cancelled = await world.acme.member.run(cancel, { input: { messageId } });
    expect(cancelled.data.cancelMessage.message.status).toBe('CANCELLED');
  });

  const knock = (path: string, scheme: string) =>
    `GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: ${scheme}\r\n`;

  it.each([
    ['before it has finished', knock('/graphql', 'websocket'), false],
    ['at once', `${knock('/graphql', 'websocket')}\r\n`, false],
    ['when it was refused for want of a key', `${knock('/graphql', 'websocket')}\r\n`, true],
    ['when it was refused another protocol', `${knock('/graphql', 'h2c')}\r\n`, true],
    ['when it was told that nothing is there', `${knock('/nowhere', 'websocket')}\r\n`, true],
    ['when it was told that it speaks nonsense', 'nonsense\r\n\r\n', true],
  ])('a client that goes away while it knocks, %s', async (_when, request, answered) => {
    const { hostname, port } = new URL(world.url);
    const socket = connect({ port: Number(port), host: hostname, allowHalfOpen: true });
    socket.on('error', () => {});
    await once(socket, 'connect');
    await new Promise<void>((resolve) => socket.write(request, () => resolve()));
    if (answered) await once(socket, 'data');
    socket.resetAndDestroy();
    await expectServed();
  });

  it('a client that closes only its own direction is let go', async () => {
    const { socket } = await acknowledged();
    const raw = (socket as unknown as { _socket: { end(): void } })._socket;
    raw.end();
    await once(socket, 'close');
    await expectServed();
  });

  it('ids and payloads that name what objects have by themselves', async () => {
    const socket = await open();
    await socket.init(
      JSON.parse(`{"authorization":"Bearer ${world.acme.member.token}","__proto__":{"x-tenant-id":"globex"}}`),
    );
    for (const id of ['__proto__', 'constructor', 'toString', 'hasOwnProperty']) {
      socket.subscribe(id, '{ viewer { id } }');
      const [answer] = await socket.until('complete');
      expect(answer).toMatchObject({ id, payload: { data: { viewer: { id: world.acme.member.id } } } });
    }
  });

  it('a complete for what was never subscribed, and pings, are taken calmly', async () => {
    const { send, next } = await acknowledged();
    send({ type: 'complete', id: 'never' });
    send({ type: 'pong' });
    send({ type: 'ping', payload: { n: 1 } });
    expect(await next()).toEqual({ type: 'pong', payload: { n: 1 } });
  });
});
