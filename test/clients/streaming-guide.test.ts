import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gql } from '@apollo/client';
import { createClient, MessageType } from 'graphql-ws';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { NOTHING_USED } from '../../src/conversations/metering.ts';
import { parseTenantId } from '../../src/tenancy/tenant-id.ts';
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.ts';
import { cancel, ENDLESS, eventsOf, remove, servedIn, startTurn, textOf } from '../support/turns.ts';
import { startWorld, type Caller, type World } from '../support/world.ts';

vi.setConfig({ maxConcurrency: 12 }); // most of the time is waited for
const ROOT = join(import.meta.dirname, '../..');
const read = (path: string) => readFileSync(join(ROOT, path), 'utf8');
const TOKEN_MS = 2_000;
/** An answer of more than a hundred events, in a second or so. */
const LONG = '[[emulate chunks=150 delayMs=4]] What about refunds?';

interface Shown {
  readonly __typename: string;
  readonly sequence: number;
  readonly text?: string;
  readonly message?: { readonly id: string; readonly status: string; readonly content: string };
}
type Follow = (id: string, onEvent: (event: Shown) => void, options?: object) => Promise<NonNullable<Shown['message']>>;
type Request = (query: string, variables: object) => Promise<{ data?: unknown; errors?: unknown }>;
type AccessToken = () => Promise<string>;

const blocks = [...read('docs/streaming.md').matchAll(/^```ts\n(?:\/\/ ([\w-]+)\.ts\n)?(.*?)^```$/gms)];
// What they export is what their readers find.
// eslint-disable-next-line @typescript-eslint/no-explicit-any
const guide: Record<string, any> = {};
let readme: (url: string, messageId: string, freshToken: AccessToken, show: (event: Shown) => void) => Promise<void>;
let folder: string;
let world: World;
let short: World;

/** The stream loop of README.md as a module: what it takes as given becomes arguments. */
function readmeModule(): string {
  const [block = ''] = /(?<=^```js\n)import .*?(?=^```$)/ms.exec(read('README.md')) ?? [];
  const [first = '', ...rest] = block.split('\n');
  const body = rest.join('\n').replace("'ws://127.0.0.1:4000/graphql'", 'url');
  return `${first}\nexport default async (url, messageId, freshToken, show) => {${body}await client.dispose(); };`;
}

beforeAll(async () => {
  mkdirSync(join(ROOT, '.cache'), { recursive: true });
  folder = mkdtempSync(join(ROOT, '.cache/streaming-guide-')); // where imports find node_modules
  for (const [, name, code] of blocks) writeFileSync(join(folder, `${name}.ts`), code!);
  for (const [, name] of blocks) guide[name!] = await import(join(folder, `${name}.ts`));
  writeFileSync(join(folder, 'readme.mjs'), readmeModule());
  readme = (await import(join(folder, 'readme.mjs'))).default;
  const jwt = {
    issuer: 'test',
    audience: 'test',
    accessTtlMs: TOKEN_MS,
    refreshTtlMs: 86_400_000,
    verificationKeys: [],
  };
  [world, short] = await Promise.all([startWorld(), startWorld({ config: { jwt } })]);
});
afterAll(async () => {
  await Promise.all(proxies.map((proxy) => proxy.close()));
  await Promise.all([world.stop(), short.stop()]);
  rmSync(folder, { recursive: true });
});

const tokenOf =
  ({ token }: Caller): AccessToken =>
  () =>
    Promise.resolve(token!);

interface GuideClient {
  readonly follow: Follow;
  readonly request: Request;
  close(): void;
}
const socketUrl = (url: string) => `${url.replace('http', 'ws')}/graphql`;

/** The two clients of the guide. */
const CLIENTS: Record<string, (url: string, token: AccessToken, silenceMs?: number) => GuideClient> = {
  'graphql-ws'(url, token, silenceMs) {
    const client = guide['socket'].connect(socketUrl(url), token, silenceMs);
    return {
      follow: (...args) => guide['socket'].followAnswer(client, ...args),
      request: guide['api'].httpRequest(`${url}/graphql`, token),
      close: () => void client.dispose(),
    };
  },
  'Apollo Client'(url, token) {
    const client = guide['apollo'].apolloClient(`${url}/graphql`, token);
    return {
      follow: (...args) => guide['apollo'].followAnswer(client, ...args),
      request: guide['apollo'].apolloRequest(client),
      close: () => client.stop(),
    };
  },
};

const sequences = (events: readonly Shown[]) => events.map(({ sequence }) => sequence);
const counted = (length: number) => Array.from({ length }, (_value, index) => index + 1);

/** Nothing lost, nothing twice, nothing out of order. */
async function expectWhole(caller: Caller, events: readonly Shown[], messageId: string) {
  const reference = await eventsOf(caller, messageId);
  expect(reference.length).toBeGreaterThan(100);
  expect(sequences(events)).toEqual(counted(reference.length));
  expect(events.map(({ text }) => text)).toEqual(reference.map(({ text }) => text));
  expect(textOf(events as never)).toBe(events.at(-1)!.message!.content);
}

async function begin(caller: Caller, content: string) {
  const conversationId = await caller.createConversation();
  return { conversationId, messageId: (await startTurn(caller, conversationId, content)).answerId };
}

/** What a process that died at the beginning of this answer, and the sweeper after it, leave behind: no stream, and an end numbered 1. */
async function crash(messageId: string) {
  const { messages, streams } = world.product.dataOf(parseTenantId('acme')!);
  const error = { code: 'INTERRUPTED', message: '', retryable: true, retryAfterMs: null } as const;
  const end = { status: 'FAILED', content: '', citations: [], error, completedAt: null, lastEvent: 1, usage: null };
  await messages.end(messageId, end as never, NOTHING_USED);
  await streams.leave(messageId);
}

const proxies: TcpProxy[] = [];
async function startProxy() {
  const proxy = await startTcpProxy(world.url);
  proxies.push(proxy);
  return proxy;
}

it('every block of the guide is a module that was imported', () => {
  expect(blocks.map(([, name]) => name)).toEqual(['api', 'send', 'answer', 'socket', 'apollo', 'events', 'chat']);
});

it.concurrent('all of them go on with fresh tokens, over the socket and over HTTP: every event once', async () => {
  const caller = () => short.signIn('acme', 'member@acme.example');
  const first = await caller();
  const { messageId } = await begin(first, LONG.replace('delayMs=4', 'delayMs=15'));
  const asked: number[] = [];
  const tokens = (who: number) => async () => ((asked[who] ??= 0), asked[who]++ === 0 ? first : await caller()).token!;
  const events: Shown[][] = [[], [], []];
  const clients = Object.values(CLIENTS).map((open, who) => open(short.url, tokens(who)));
  await Promise.all([
    ...clients.map(({ follow }, who) => follow(messageId, (event) => events[who]!.push(event))),
    readme(socketUrl(short.url), messageId, tokens(2), (event) => events[2]!.push(event)),
  ]);
  for (const seen of events) await expectWhole(await caller(), seen, messageId);
  expect(Math.min(...asked)).toBeGreaterThan(1);

  clients.push(...Object.values(CLIENTS).map((open, who) => open(short.url, tokens(3 + who))));
  for (const { request } of clients.slice(2)) await guide['send'].stopAnswer(request, messageId);
  expect(asked.slice(3)).toEqual([2, 2]);
  for (const client of clients) client.close();
});

describe.concurrent("README.md's loop", () => {
  it('takes the end of an answer whose stream broke off, though its sequence was seen', async () => {
    const { messageId, conversationId } = await begin(world.acme.member, ENDLESS);
    const events: Shown[] = [];
    await readme(socketUrl(world.url), messageId, tokenOf(world.acme.member), (event) => {
      events.push(event);
      if (event.sequence === 2 && !event.message) void crash(messageId);
    });
    expect(sequences(events)).toEqual([1, 2, 1]);
    await remove(world.acme.member, conversationId);
  });

  it('goes on after a connection that is cut: every event once', async () => {
    const { messageId } = await begin(world.acme.member, LONG);
    const proxy = await startProxy();
    proxy.cutAfter(5_000);
    const events: Shown[] = [];
    await readme(socketUrl(proxy.url), messageId, tokenOf(world.acme.member), (event) => events.push(event));
    expect(proxy.connections()).toBe(2);
    await expectWhole(world.acme.member, events, messageId);
  });
});

describe.concurrent.each(Object.keys(CLIENTS))('with %s', (name) => {
  const clients: GuideClient[] = [];
  function open(url = world.url, token = tokenOf(world.acme.member), silenceMs?: number): GuideClient {
    const client = CLIENTS[name]!(url, token, silenceMs);
    clients.push(client);
    return client;
  }
  afterAll(() => clients.forEach((client) => client.close()));
  const me = () => world.acme.member;

  it('goes on after a connection that is cut three times: every event once', async () => {
    const { messageId } = await begin(me(), LONG);
    const proxy = await startProxy();
    proxy.cutAfter(3_000, 5_000, 4_000);
    const events: Shown[] = [];
    const answer = await open(proxy.url).follow(messageId, (event) => events.push(event));
    expect(proxy.connections()).toBe(4);
    expect(answer.status).toBe('COMPLETED');
    await expectWhole(me(), events, messageId);
  });

  it('takes the end of an answer whose stream broke off, though its sequence was seen, and its content', async () => {
    const { messageId, conversationId } = await begin(me(), ENDLESS);
    const events: Shown[] = [];
    let text = '';
    const answer = await open().follow(messageId, (event) => {
      events.push(event);
      text = guide['answer'].textAfter(text, event);
      if (event.sequence === 2 && !event.message) void crash(messageId);
    });
    expect(sequences(events)).toEqual([1, 2, 1]);
    expect([answer.status, text]).toEqual(['FAILED', '']);
    await remove(me(), conversationId);
  });

  it('sends once, where the answer to the first call was lost', async () => {
    const conversationId = await me().createConversation();
    const proxy = await startProxy();
    const { request } = open(proxy.url);
    const input = { conversationId, content: 'Once, please.', idempotencyKey: crypto.randomUUID() };
    proxy.loseNextAnswer();
    const messageId = await guide['send'].sendMessage(request, input);
    expect(proxy.connections()).toBe(2);
    expect(await guide['send'].sendMessage(request, input)).toBe(messageId);
    await eventsOf(me(), messageId);
    expect(servedIn(world, conversationId)).toHaveLength(1);
    await expect(guide['send'].sendMessage(request, { ...input, content: 'Edited.' })).rejects.toMatchObject({
      code: 'IDEMPOTENCY_CONFLICT',
    });
  });

  it('waits in a conversation that is busy, follows that answer, stops it, and then sends', async () => {
    const { messageId, conversationId } = await begin(me(), ENDLESS);
    const { request, follow } = open();
    const shown = new Map<string, string>();
    let stopped: Promise<void> | undefined;
    const show = (id: string, text: string) => {
      shown.set(id, text);
      if (id === messageId && text !== '') stopped ??= guide['send'].stopAnswer(request, messageId);
    };
    const message = { conversationId, content: 'And now?', idempotencyKey: 'click' };
    const answer = await guide['chat'].ask({ request, follow, show }, message);
    await stopped;
    expect([...shown.keys()]).toEqual([messageId, answer.id]);
    expect(answer.status).toBe('COMPLETED');
    expect(shown.get(answer.id)).toBe(answer.content);
    const [{ message: kept } = {}] = (await eventsOf(me(), messageId)).slice(-1);
    expect(kept).toMatchObject({ status: 'CANCELLED', content: shown.get(messageId) });
    expect(kept!.content).not.toBe('');
  });

  it('shows a conversation that is being answered, in two tabs', async () => {
    const { messageId, conversationId } = await begin(me(), LONG);
    const tabs = [new Map<string, string>(), new Map<string, string>()];
    const client = open();
    await Promise.all(
      tabs.map((tab) => {
        const show = (id: string, text: string) => {
          expect(text.startsWith(tab.get(id) ?? '')).toBe(true);
          tab.set(id, text);
        };
        return guide['chat'].openConversation({ ...client, show }, conversationId);
      }),
    );
    const content = textOf(await eventsOf(me(), messageId));
    for (const tab of tabs) {
      expect([...tab.values()]).toEqual([LONG, content]);
      expect([...tab.keys()][1]).toBe(messageId);
    }
  });

  it('two readers of one client with the same place both see every event', async () => {
    const { messageId } = await begin(me(), LONG);
    const client = open();
    const late: Shown[] = [];
    const early: Shown[] = [];
    let second: Promise<unknown> | undefined;
    await client.follow(messageId, (event) => {
      early.push(event);
      if (event.sequence === 10) second = client.follow(messageId, (more) => late.push(more));
    });
    await second;
    await expectWhole(me(), early, messageId);
    await expectWhole(me(), late, messageId);
  });

  it('whoever leaves is gone at once, and the answer goes on; who comes back has the rest', async () => {
    const { messageId } = await begin(me(), ENDLESS);
    const proxy = await startProxy();
    const client = open(proxy.url);
    const leaving = new AbortController();
    const gone = new Error('left');
    const onEvent = () => leaving.abort(gone);
    await expect(client.follow(messageId, onEvent, { signal: leaving.signal })).rejects.toBe(gone);
    await proxy.idle();
    await expect(client.follow(messageId, onEvent, { signal: leaving.signal })).rejects.toBe(gone);
    expect(proxy.connections()).toBe(1);
    const events: Shown[] = [];
    await client.follow(
      messageId,
      (event) => {
        events.push(event);
        if (!event.message) void cancel(me(), messageId);
      },
      { after: 1 },
    );
    expect(sequences(events)).toEqual([2, 3]);
    expect(events.at(-1)!.__typename).toBe('MessageCancelled');
  });

  it('stops for an error that will not change, and for a fault of its own listener', async () => {
    const { messageId, conversationId } = await begin(me(), ENDLESS);
    const proxy = await startProxy();
    const client = open(proxy.url);
    const stranger = open(proxy.url, tokenOf(world.globex.member));
    await expect(stranger.follow(messageId, () => {})).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await expect(client.follow(messageId, () => {}, { after: -1 })).rejects.toMatchObject({ code: 'BAD_USER_INPUT' });
    const fault = new Error('cannot draw');
    let calls = 0;
    const draw = () => {
      calls++;
      throw fault;
    };
    await expect(client.follow(messageId, draw)).rejects.toBe(fault);
    expect(calls).toBe(1);
    expect(proxy.connections()).toBeLessThanOrEqual(3); // a socket each
    await remove(me(), conversationId);
  });
});

it.concurrent('graphql-ws: a client that reconnects by itself replays, and nothing is shown twice', async () => {
  const { messageId } = await begin(world.acme.member, LONG);
  const proxy = await startProxy();
  proxy.cutAfter(5_000, 10_000);
  let received = 0;
  const client = createClient({
    url: socketUrl(proxy.url),
    connectionParams: world.acme.member.headers,
    shouldRetry: () => true,
    retryWait: () => Promise.resolve(),
    on: { message: ({ type }) => void (type === MessageType.Next && received++) },
  });
  const events: Shown[] = [];
  await guide['socket'].followAnswer(client, messageId, (event: Shown) => events.push(event));
  await client.dispose();
  expect(proxy.connections()).toBe(3);
  expect(received).toBeGreaterThan(events.length + 50);
  await expectWhole(world.acme.member, events, messageId);
});

it.concurrent('graphql-ws: a connection that is dead and not closed is left', async () => {
  const { messageId } = await begin(world.acme.member, LONG);
  const proxy = await startProxy();
  const client = CLIENTS['graphql-ws']!(proxy.url, tokenOf(world.acme.member), 150);
  const events: Shown[] = [];
  await client.follow(messageId, (event) => {
    events.push(event);
    if (event.sequence === 20) proxy.freeze();
  });
  client.close();
  expect(proxy.connections()).toBeGreaterThan(1);
  await expectWhole(world.acme.member, events, messageId);
});

it.concurrent('graphql-sse: goes on after a connection that is cut three times: every event once', async () => {
  const { messageId } = await begin(world.acme.member, LONG);
  const proxy = await startProxy();
  proxy.cutAfter(3_000, 5_000, 4_000);
  const client = guide['events'].connectEvents(`${proxy.url}/graphql`, tokenOf(world.acme.member));
  const events: Shown[] = [];
  const answer = await guide['events'].followAnswer(client, messageId, (event: Shown) => events.push(event));
  client.dispose();
  expect(proxy.connections()).toBe(4);
  expect(answer.status).toBe('COMPLETED');
  await expectWhole(world.acme.member, events, messageId);
});

it.concurrent('graphql-sse: stops for an error that will not change', async () => {
  const { messageId, conversationId } = await begin(world.acme.member, ENDLESS);
  const client = guide['events'].connectEvents(`${world.url}/graphql`, tokenOf(world.globex.member));
  const follow = guide['events'].followAnswer(client, messageId, () => {});
  await expect(follow).rejects.toMatchObject({ code: 'NOT_FOUND' });
  client.dispose();
  await remove(world.acme.member, conversationId);
});

it.concurrent('Apollo Client: the cached message ends with the answer', async () => {
  const { messageId, conversationId } = await begin(world.acme.member, LONG);
  const client = guide['apollo'].apolloClient(`${world.url}/graphql`, tokenOf(world.acme.member));
  const query = gql`
    query Shown($id: ID!) {
      conversation(id: $id) {
        id
        messages {
          nodes {
            id
            status
            content
          }
        }
      }
    }
  `;
  const variables = { id: conversationId };
  await client.query({ query, variables });
  const last = () => client.readQuery({ query, variables }).conversation.messages.nodes.at(-1);
  expect(last()).toMatchObject({ id: messageId, status: 'STREAMING' });
  const answer = await guide['apollo'].followAnswer(client, messageId, () => {});
  expect(last()).toMatchObject({ id: messageId, status: 'COMPLETED', content: answer.content });
  client.stop();
});

describe.concurrent('a call', () => {
  const refusal = (code: string, more = {}) => ({ errors: [{ message: '', extensions: { code, ...more } }] });
  const scripted = (...answers: object[]) => {
    const asked: number[] = [];
    const request = () => {
      asked.push(performance.now());
      return Promise.resolve(answers.shift() ?? {});
    };
    return { asked, request };
  };

  it('waits as long as it is told to', async () => {
    const { asked, request } = scripted(refusal('RATE_LIMITED', { retryAfterMs: 300 }), { data: { done: true } });
    expect(await guide['api'].call(request, '', {})).toEqual({ done: true });
    expect(asked[1]! - asked[0]!).toBeGreaterThanOrEqual(299);
  });

  it('is repeated for what passes, and not for what does not', async () => {
    const { asked, request } = scripted(refusal('INTERRUPTED'), refusal('CONVERSATION_BUSY'), refusal('FORBIDDEN'));
    await expect(guide['api'].call(request, '', {})).rejects.toMatchObject({ code: 'FORBIDDEN' });
    expect(asked).toHaveLength(3);
    const busy = scripted(refusal('CONVERSATION_BUSY', { messageId: 'm' }));
    await expect(guide['api'].call(busy.request, '', {})).rejects.toMatchObject({ details: { messageId: 'm' } });
  });
});
