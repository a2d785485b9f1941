import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { connect as openSocket } from 'node:net';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BroadcastChannel } from 'node:worker_threads';
import { ListTablesCommand } from '@aws-sdk/client-dynamodb';
import { GetCommand, PutCommand, QueryCommand } from '@aws-sdk/lib-dynamodb';
import { afterEach, describe, expect, it } from 'vitest';
import type { Clock } from '../../src/kernel/clock.ts';
import { startLocalDynamoDb } from '../../src/local/dynamodb/engine.ts';
import type { LocalDynamoDb, LocalDynamoDbEvent, LocalDynamoDbOptions } from '../../src/local/dynamodb/engine.ts';
import { closeIterators } from '../../src/local/dynamodb/iterator-cure.ts';
import { createStore, createStoreServer } from '../../src/local/dynamodb/store.ts';
import { startStoreWorker } from '../../src/local/dynamodb/worker-handle.ts';
import { runFixture } from './fixtures/child.ts';
import { connect, createTable, rowsOf } from './fixtures/tables.ts';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

const temporaryFolder = (): string => {
  const folder = mkdtempSync(join(tmpdir(), 'dynamodb-engine-'));
  cleanups.push(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
};

/** An engine that is closed after the test, the events it reported, and a wait for the next of a type. */
const start = async (options: LocalDynamoDbOptions = {}) => {
  const events: LocalDynamoDbEvent[] = [];
  const waiting = new Map<string, () => void>();
  const onEvent = (event: LocalDynamoDbEvent) => {
    events.push(event);
    waiting.get(event.type)?.();
  };
  const engine = await startLocalDynamoDb({ ...options, onEvent });
  cleanups.push(() => engine.close());
  const next = (type: LocalDynamoDbEvent['type']) => new Promise<void>((resolve) => waiting.set(type, resolve));
  return { engine, events, next, client: connect(engine.endpoint) };
};

const put = (client: ReturnType<typeof connect>, SK: string, more: Record<string, unknown> = {}) =>
  client.send(new PutCommand({ TableName: 'app', Item: { PK: 'T#acme', SK, g1PK: 'list', g1SK: SK, ...more } }));
const get = async (client: ReturnType<typeof connect>, SK: string) =>
  (await client.send(new GetCommand({ TableName: 'app', Key: { PK: 'T#acme', SK }, ConsistentRead: true }))).Item;
const list = (client: ReturnType<typeof connect>) =>
  client.send(
    new QueryCommand({
      TableName: 'app',
      IndexName: 'all',
      KeyConditionExpression: 'g1PK = :list',
      ExpressionAttributeValues: { ':list': 'list' },
      ScanIndexForward: false,
      Limit: 2,
    }),
  );

const signed = (target: string) =>
  'POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-amz-json-1.0\r\n' +
  `X-Amz-Target: DynamoDB_20120810.${target}\r\nX-Amz-Date: x\r\n` +
  'Authorization: AWS4-HMAC-SHA256 Credential=a, SignedHeaders=b, Signature=c\r\n';

/** A connection on which the engine has read the head of a request and waits for `length` bytes of body. */
const halfSent = async ({ endpoint }: LocalDynamoDb, target: string, length: number) => {
  const socket = openSocket(Number(new URL(endpoint).port), '127.0.0.1');
  socket.on('error', () => undefined);
  socket.write(`${signed(target)}Content-Length: ${length}\r\nExpect: 100-continue\r\n\r\n`);
  const [answer] = (await once(socket, 'data')) as [Buffer];
  expect(answer.toString()).toContain('100 Continue');
  return socket;
};

describe('in memory', () => {
  it('creates a table with indexes, stores items and queries an index through the AWS SDK', async () => {
    const { client } = await start();
    await createTable(client, 'app');
    for (const SK of ['1', '2', '3']) await put(client, SK);
    expect((await list(client)).Items?.map(({ SK }) => String(SK))).toEqual(['3', '2']);
    expect(await get(client, '2')).toMatchObject({ g1SK: '2' });
  });

  it('forgets everything at close, and close may be called twice', async () => {
    const first = await start();
    await createTable(first.client, 'app');
    await Promise.all([first.engine.close(), first.engine.close()]);
    const second = await start();
    expect((await second.client.send(new ListTablesCommand({}))).TableNames).toEqual([]);
  });

  it('refuses a busy port with an error, and gives up the folder it had claimed', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    cleanups.push(() => server.close());
    await once(server, 'listening');
    const dataDir = temporaryFolder();
    const { port } = server.address() as AddressInfo;
    await expect(startLocalDynamoDb({ dataDir, port })).rejects.toThrow('EADDRINUSE');
    const { client } = await start({ dataDir });
    await createTable(client, 'app');
  });
});

describe('on disk', () => {
  it('keeps tables, items and indexes over close and start, without a repair', async () => {
    const dataDir = join(temporaryFolder(), 'made', 'by', 'the', 'engine');
    const first = await start({ dataDir });
    await createTable(first.client, 'app');
    await Promise.all(['1', '2', '3'].map((SK) => put(first.client, SK)));
    const before = await rowsOf(first.client, 'app', 'all');
    await first.engine.close();
    const second = await start({ dataDir });
    expect(await rowsOf(second.client, 'app', 'all')).toEqual(before);
    expect(before).toHaveLength(3);
    expect(second.events).toEqual([]);
  });

  it('answers a request that is under way when it is closed, and keeps what that request wrote', async () => {
    const dataDir = temporaryFolder();
    const { engine, client } = await start({ dataDir });
    await createTable(client, 'app');
    const body = JSON.stringify({ TableName: 'app', Item: { PK: { S: 'T#acme' }, SK: { S: 'late' } } });
    const socket = await halfSent(engine, 'PutItem', body.length);
    const closed = engine.close();
    socket.write(body);
    const [answer] = (await once(socket, 'data')) as [Buffer];
    expect(answer.toString()).toContain('200 OK');
    await closed;
    expect(existsSync(join(dataDir, 'engine.lock'))).toBe(false);
    const again = await start({ dataDir });
    expect(await get(again.client, 'late')).toEqual({ PK: 'T#acme', SK: 'late' });
    expect(again.events).toEqual([]);
  });
});

describe('a request that would end dynalite', () => {
  it('half sent, is dropped: nothing restarts and data in memory stays', async () => {
    const { engine, client, events } = await start();
    await createTable(client, 'app');
    await put(client, '1');
    for (let i = 0; i < 5; i++) {
      const socket = await halfSent(engine, 'PutItem', 1000);
      socket.end('{"TableName":');
      await once(socket, 'close');
    }
    expect(await get(client, '1')).toMatchObject({ SK: '1' });
    expect(events).toEqual([]);
  });

  it('with JSON of an unforeseen shape, is answered 400 and nothing restarts', async () => {
    const { engine, client, events } = await start();
    await createTable(client, 'app');
    for (const body of ['null', '{"TableName":"app","Item":{"PK":null}}']) {
      const socket = await halfSent(engine, body === 'null' ? 'ListTables' : 'PutItem', body.length);
      socket.write(body);
      const [answer] = (await once(socket, 'data')) as [Buffer];
      expect(answer.toString()).toMatch(/400 Bad Request[^]*SerializationException/);
      socket.destroy();
    }
    expect((await client.send(new ListTablesCommand({}))).TableNames).toEqual(['app']);
    expect(events).toEqual([]);
  });
});

describe('a dead worker', () => {
  const workerUrl = new URL('./fixtures/mortal-worker.ts', import.meta.url);
  const killWorker = () => {
    const channel = new BroadcastChannel('kill-dynamodb');
    channel.postMessage('now');
    channel.close();
  };

  it('is restarted on the same files and endpoint, with every item and a look at the indexes', async () => {
    const { engine, client, events, next } = await start({ dataDir: temporaryFolder(), workerUrl });
    await createTable(client, 'app');
    await put(client, '1');
    const restarted = next('restarted');
    killWorker();
    await restarted;
    expect(await get(client, '1')).toMatchObject({ SK: '1' });
    await put(client, '2');
    expect((await list(connect(engine.endpoint))).Items).toHaveLength(2);
    expect(events).toEqual([
      { type: 'crashed', error: expect.objectContaining({ message: 'killed by the test' }) as Error },
      { type: 'repaired', ghosts: 0, missing: 0, outdated: 0, tables: 0 },
      { type: 'restarted', dataLost: false },
    ]);
  });

  it('is restarted even when nothing but the engine keeps the process alive', async () => {
    const child = runFixture('engine-process.ts', temporaryFolder(), 'die');
    cleanups.push(() => child.kill());
    await child.heard('restarted');
  });

  it('in memory, comes back empty and says so', async () => {
    const { client, events, next } = await start({ workerUrl });
    await createTable(client, 'app');
    const restarted = next('restarted');
    killWorker();
    await restarted;
    expect((await client.send(new ListTablesCommand({}))).TableNames).toEqual([]);
    expect(events.at(-1)).toEqual({ type: 'restarted', dataLost: true });
  });

  it('is restarted after 50, 100, 200 and 400 ms, and given up at the fifth death in a minute', async () => {
    const delays: number[] = [];
    const after: Clock['after'] = (ms, task) => {
      if (ms > 60_000) return () => undefined; // the next look at what has outlived its time to live
      delays.push(ms);
      setImmediate(task);
      return () => undefined;
    };
    const { engine, events, next } = await start({ workerUrl, clock: { now: () => 0, after } });
    for (let deaths = 1; deaths <= 5; deaths++) {
      const settled = next(deaths < 5 ? 'restarted' : 'gave-up');
      killWorker();
      await settled;
    }
    expect(delays).toEqual([50, 100, 200, 400]);
    expect(events.at(-1)).toMatchObject({ type: 'gave-up', crashes: 5 });
    await engine.close();
  });

  it('is not given up when the deaths are more than a minute apart', async () => {
    let now = 0;
    const after: Clock['after'] = (_ms, task) => {
      setImmediate(task);
      return () => undefined;
    };
    const { events, next } = await start({ workerUrl, clock: { now: () => now, after } });
    for (let deaths = 1; deaths <= 6; deaths++) {
      const settled = next('restarted');
      killWorker();
      await settled;
      now += 20_000;
    }
    expect(events.filter(({ type }) => type === 'restarted')).toHaveLength(6);
  });
});

describe('LevelDB iterators', () => {
  const readAll = async (endpoint: string) => {
    const client = connect(endpoint);
    await createTable(client, 'app');
    for (const SK of ['1', '2', '3', '4']) await put(client, SK);
    for (let i = 0; i < 50; i++) await list(client);
    await rowsOf(client, 'app');
  };

  it('are all closed after queries and scans that read a part or everything', async () => {
    const worker = await startStoreWorker({ host: '127.0.0.1', port: 0, repair: false });
    await readAll(`http://127.0.0.1:${worker.port}`);
    expect(await worker.openIterators()).toBe(0);
    await worker.close();
  });

  it.each([
    { cured: false, open: 'one for each of 50 queries, and more' },
    { cured: true, open: 'none' },
  ])('without the cure leak; cured: $cured leaves $open open', async ({ cured }) => {
    const store = createStore();
    const attached = new Set<object>();
    const attach = store.db.attachResource.bind(store.db);
    const detach = store.db.detachResource.bind(store.db);
    store.db.attachResource = (resource) => (attached.add(resource), attach(resource));
    store.db.detachResource = (resource) => (attached.delete(resource), detach(resource));
    if (cured) closeIterators(store);
    const server = createStoreServer(store).listen(0, '127.0.0.1');
    await once(server, 'listening');
    await readAll(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
    if (cured) expect(attached.size).toBe(0);
    else expect(attached.size).toBeGreaterThanOrEqual(51);
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
});
