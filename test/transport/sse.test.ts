import { once } from 'node:events';
import { request, type ClientRequest, type IncomingMessage } from 'node:http';
import { Writable } from 'node:stream';
import type { FastifyReply } from 'fastify';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { createEventQueue, type EventQueue } from '../../src/kernel/event-queue.ts';
import { KEEP_ALIVE_MS, openSseResponse } from '../../src/server/sse-response.ts';
import { createTestClock, settle } from '../support/clock.ts';
import { rawHttp, type RawRequest } from '../support/raw-http.ts';
import { startSmallApi } from '../support/small-api.ts';
import { startWorld, testConfig, type World } from '../support/world.ts';

const clock = createTestClock();
const sources = new Set<EventQueue<{ text: string }>>();
let pulled = 0;
const subscribe = () => {
  const queue = createEventQueue<{ text: string }>({ onEnd: () => sources.delete(queue) });
  sources.add(queue);
  return queue;
};
/** Says something whenever it is asked. */
const endless = () => ({
  next: () => Promise.resolve({ value: { endless: `${++pulled}${'x'.repeat(4_000_000)}` }, done: false }),
  return: () => Promise.resolve({ value: undefined, done: true }),
  [Symbol.asyncIterator]() {
    return this;
  },
});
const failing = async function* () {
  yield await Promise.resolve({ failing: 'a beginning' });
  throw new Error('a secret of the store');
};

let api: Awaited<ReturnType<typeof startSmallApi>>;
beforeAll(async () => {
  api = await startSmallApi({
    clock,
    typeDefs:
      'type Query { ok: Int } type Mutation { act: Int } type Subscription { text: String endless: String failing: String }',
    resolvers: {
      Query: { ok: () => 1 },
      Mutation: { act: () => 2 },
      Subscription: { text: { subscribe }, endless: { subscribe: endless }, failing: { subscribe: failing } },
    },
  });
});
afterAll(() => api.stop());

const opened: ClientRequest[] = [];
afterEach(async () => {
  for (const sent of opened.splice(0)) sent.destroy();
  await until(() => api.eventStreams() === 0);
});

async function until(done: () => boolean) {
  while (!done()) await settle();
}

interface Events {
  readonly response: IncomingMessage;
  readonly sent: ClientRequest;
  /** What has come so far. */
  readonly text: () => string;
  readonly ended: Promise<unknown>;
}

/** An event stream as it comes; with `read: false` nothing of it is taken. */
async function open(query: string, { url = api.url, headers = {}, read = true } = {}): Promise<Events> {
  const sent = request(`${url}/graphql`, {
    method: 'POST',
    agent: false,
    headers: { 'content-type': 'application/json', accept: 'text/event-stream', ...headers },
  });
  opened.push(sent);
  sent.on('error', () => {});
  sent.end(JSON.stringify({ query }));
  const [response] = (await once(sent, 'response')) as [IncomingMessage];
  let text = '';
  response.on('error', () => {});
  if (read) response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
  return { response, sent, text: () => text, ended: new Promise((resolve) => response.once('close', resolve)) };
}

const source = async () => {
  await until(() => sources.size === 1);
  return [...sources][0]!;
};

const events = (accept = 'text/event-stream') => ({ accept });
const END = 'event: complete\ndata:\n\n';

describe('an operation asked for as events', () => {
  it('comes as the protocol of GraphQL over SSE has it, and as no proxy would hold it back', async () => {
    const stream = await open('subscription { text }', {
      headers: { 'accept-encoding': 'gzip', 'x-request-id': 'my-request-1' },
    });
    const queue = await source();
    queue.push({ text: 'one' });
    queue.push({ text: 'two\nlines' });
    queue.end();
    await stream.ended;
    const next = (text: string) => `event: next\ndata: ${JSON.stringify({ data: { text } })}\n\n`;
    expect(stream.text()).toBe(`:\n\n${next('one')}${next('two\nlines')}${END}`);
    expect(stream.response.statusCode).toBe(200);
    expect(stream.response.headers).toMatchObject({
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-store, no-transform',
      'x-accel-buffering': 'no',
      'x-request-id': 'my-request-1',
      'x-content-type-options': 'nosniff',
    });
    expect(stream.response.headers['content-encoding']).toBeUndefined();
  });

  it('may be a query or a mutation: one event, with its cost', async () => {
    for (const [query, data] of [
      ['{ ok }', { ok: 1 }],
      ['mutation { act }', { act: 2 }],
    ] as const) {
      const { text } = await rawHttp(api.url).post(query, {}, events());
      const [, event = ''] = /^event: next\ndata: (.*)$/m.exec(text) ?? [];
      expect(JSON.parse(event)).toMatchObject({ data, extensions: { cost: { points: expect.any(Number) } } });
      expect(text.endsWith(END)).toBe(true);
    }
  });

  it.each([
    ['application/json, text/event-stream', 'application/json'],
    ['*/*', 'application/json'],
    ['text/event-stream;q=0.5, application/json', 'application/json'],
    ['text/event-stream, multipart/mixed', 'text/event-stream'],
  ])('is what is liked best: %s gets %s', async (accept, type) => {
    const { headers } = await rawHttp(api.url).post('{ ok }', {}, events(accept));
    expect(headers.get('content-type')).toContain(type);
  });

  it.each<[string, RawRequest, number]>([
    ['a GET', { method: 'GET', path: '/graphql?query={ok}' }, 405],
    ['a text', { body: '{"query":"{ ok }"}', headers: { 'content-type': 'text/plain' } }, 400],
    ['a form', { body: 'query={ok}', headers: { 'content-type': 'application/x-www-form-urlencoded' } }, 415],
    ['a batch', { body: [{ query: '{ ok }' }] }, 400],
    ['variables that are no object', { body: { query: '{ ok }', variables: [] } }, 400],
    ['a document that is no text', { body: { query: 1 } }, 400],
    ['no JSON', { body: '{' }, 400],
  ])('that is no such request is refused as over HTTP, and no stream is begun: %s', async (_name, asked, status) => {
    const answer = await rawHttp(api.url).send({ ...asked, headers: { ...asked.headers, ...events() } });
    expect(answer).toMatchObject({ status, code: 'BAD_REQUEST' });
  });

  it('that fails in the middle says so without a word of why, and ends', async () => {
    const stream = await open('subscription { failing }');
    await stream.ended;
    expect(stream.text()).toContain('a beginning');
    expect(stream.text()).toMatch(/"code":"INTERNAL","requestId":"[0-9a-f-]{36}"/);
    expect(stream.text()).not.toContain('secret');
    expect(api.logText()).toContain('a secret of the store');
    expect(stream.text().endsWith(END)).toBe(true);
  });

  it('has its line in the log, with what came of it', async () => {
    const before = api.logLines.length;
    const stream = await open('subscription { text }');
    (await source()).push({ text: 'one' });
    await until(() => stream.text().includes('one'));
    stream.sent.destroy();
    await until(() => sources.size === 0);
    const [line] = api.logLines.slice(before).filter(({ operation }) => operation);
    expect(line?.operation).toMatchObject({ type: 'subscription', transport: 'sse', events: 1 });
  });
});

describe('a reader of events', () => {
  it('who leaves frees what it read from at once, although nothing was there to read', async () => {
    const stream = await open('subscription { text }');
    await source();
    stream.sent.destroy();
    await until(() => sources.size === 0 && api.eventStreams() === 0);
    expect(api.subscriptions.size()).toBe(0);
    expect(clock.pending()).toBe(0);
  });

  it('to whom nothing is sent gets a comment every 12 s', async () => {
    const stream = await open('subscription { text }');
    await source();
    for (let n = 2; n < 5; n++) {
      await clock.advance(KEEP_ALIVE_MS);
      await until(() => stream.text() === ':\n\n'.repeat(n));
    }
  });

  it('who does not read costs what the network holds and one event, and is cut off within 24 s', async () => {
    pulled = 0;
    const stream = await open('subscription { endless }', { read: false });
    await until(() => pulled > 0);
    await settle(300);
    const held = pulled;
    expect(held).toBeLessThan(5); // of 4 MB
    await clock.advance(KEEP_ALIVE_MS);
    await clock.advance(KEEP_ALIVE_MS);
    await until(() => api.eventStreams() === 0);
    expect(pulled).toBe(held);
    expect(clock.pending()).toBe(0);
    stream.response.resume();
    await stream.ended;
    expect(stream.response.complete).toBe(false);
  });

  it('who reads all but the end is cut off as well', async () => {
    const write = (text: Buffer, _encoding: string, done: () => void) =>
      void (text.toString().startsWith(':') && done());
    const raw = Object.assign(new Writable({ write }), { writeHead: () => {} });
    const reply = { raw, hijack: () => {}, getHeaders: () => ({}) } as unknown as FastifyReply;
    void openSseResponse(reply, clock).complete();
    await clock.advance(KEEP_ALIVE_MS);
    await clock.advance(KEEP_ALIVE_MS);
    expect(raw.destroyed).toBe(true);
    await until(() => clock.pending() === 0);
  });

  it('is told to come back when the server stops, and so is whoever asks while it does', async () => {
    const own = await startSmallApi({
      clock,
      typeDefs: 'type Query { ok: Int } type Subscription { text: String }',
      resolvers: { Subscription: { text: { subscribe } } },
    });
    const stream = await open('subscription { text }', { url: own.url });
    await source();
    const stopping = own.stop();
    const late = await open('subscription { text }', { url: own.url });
    await late.ended; // at once: it was never served
    await clock.advance(1_000);
    await Promise.all([stream.ended, stopping]);
    for (const { text } of [stream, late]) {
      expect(text()).toContain('"code":"INTERRUPTED","retryable":true');
      expect(text().endsWith(END)).toBe(true);
    }
    expect(sources.size).toBe(0);
  });
});

describe('who may stay', () => {
  const time = createTestClock();
  let world: World;
  beforeAll(async () => {
    const { jwt } = testConfig();
    world = await startWorld({ clock: time, config: { jwt: { ...jwt, accessTtlMs: 60_000 } } });
  });
  afterAll(async () => {
    let stopped = false;
    const stopping = world.stop().finally(() => (stopped = true));
    while (!stopped) await time.advance(1_000);
    await stopping;
  });

  const live = (token: string | null) =>
    open('subscription { liveUsage { activeGenerations } }', {
      url: world.url,
      headers: { authorization: `Bearer ${token}` },
    });

  it('a bad token, and none, are told so by an event: a client reads those', async () => {
    for (const token of ['nonsense', '']) {
      const stream = await live(token);
      await stream.ended;
      expect(stream.text()).toContain('"code":"UNAUTHENTICATED"');
    }
  });

  it('a stream ends with UNAUTHENTICATED when the session was ended, though nothing was to be sent', async () => {
    const admin = await world.signIn('acme', 'admin@acme.example');
    const stream = await live(admin.token);
    while (!stream.text().includes('activeGenerations')) await time.advance(1);
    await admin.run('mutation($t: String!) { signOut(refreshToken: $t) }', { t: admin.refreshToken });
    for (let n = 0; n < 6; n++) await time.advance(5_000);
    await stream.ended;
    expect(stream.text()).toContain('"code":"UNAUTHENTICATED"');
    expect(stream.text().endsWith(END)).toBe(true);
  });

  it('a stream ends with the token, to the moment', async () => {
    const fresh = await world.signIn('acme', 'admin@acme.example');
    const stream = await live(fresh.token);
    while (!stream.text().includes('activeGenerations')) await time.advance(1);
    const { exp } = JSON.parse(Buffer.from(fresh.token!.split('.')[1]!, 'base64url').toString()) as { exp: number };
    while (exp * 1000 - time.now() > 5_000) {
      await time.advance(5_000);
      await settle(200); // the looks of every 5 s read the store
    }
    await time.advance(exp * 1000 - time.now() - 1);
    await settle(200);
    expect(stream.text()).not.toContain('UNAUTHENTICATED');
    while (!stream.text().includes('"code":"UNAUTHENTICATED"')) await time.advance(1);
    expect(time.now() - exp * 1000).toBeLessThan(1_000);
    await stream.ended;
  });
});
