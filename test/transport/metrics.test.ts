import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createAdminServer } from '../../src/server/admin.ts';
import { listen } from '../../src/server/listen.ts';
import { createMetrics, GAUGE_TIMEOUT_MS, type GaugeSource } from '../../src/server/metrics.ts';
import { createTestClock, settle } from '../support/clock.ts';
import { captureLog } from '../support/log-capture.ts';
import { rawHttp } from '../support/raw-http.ts';
import { openSocket } from '../support/raw-socket.ts';
import { scrape } from '../support/scrape.ts';
import { startWorld, type World } from '../support/world.ts';

const OPERATIONS = 'bedrock_graphql_operations_total';
const DURATION = 'bedrock_graphql_operation_duration_seconds';

describe('the metrics of a server that is used', () => {
  let world: World;
  beforeAll(async () => {
    world = await startWorld();
  });
  afterAll(() => world.stop());

  it('count every operation by type, transport and first error code', async () => {
    const { member } = world.acme;
    const { sum: before } = await scrape(world.product.adminUrl);
    await member.run('query ZebraName { viewer { id } }');
    await member.run('{ conversations(first: 0) { nodes { id } } }');
    await member.run('{ nonsense }');
    const conversationId = await member.createConversation();
    const { data } = await member.ask(conversationId, 'hello');
    const socket = await openSocket(world.wsUrl);
    await socket.init({ authorization: `Bearer ${member.token}` });
    socket.subscribe('1', 'query ZebraName { viewer { id } }');
    await socket.until('complete');
    socket.subscribe('2', 'subscription($id: ID!) { messageStream(messageId: $id) { sequence } }', {
      id: data.sendMessage.assistantMessage.id,
    });
    await socket.until('complete');
    socket.subscribe('3', '{ nonsense }');
    await socket.until('error');
    socket.subscribe('4', 'subscription { messageStream(messageId: "message-x") { sequence } }');
    await socket.next();

    const { status, headers, sum, of } = await scrape(world.product.adminUrl);
    expect(status).toBe(200);
    expect(headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8');
    const more = (labels: Readonly<Record<string, string>>) => sum(OPERATIONS, labels) - before(OPERATIONS, labels);
    expect(more({ transport: 'http', type: 'query', code: 'ok' })).toBe(1);
    expect(more({ transport: 'http', type: 'query', code: 'BAD_USER_INPUT' })).toBe(1);
    expect(more({ transport: 'http', code: 'GRAPHQL_VALIDATION_FAILED' })).toBe(1);
    expect(more({ transport: 'http', type: 'mutation', code: 'ok' })).toBe(2);
    expect(more({ transport: 'ws', type: 'query', code: 'ok' })).toBe(1);
    expect(more({ transport: 'ws', type: 'subscription', code: 'ok' })).toBe(1);
    expect(more({ transport: 'ws', type: 'subscription', code: 'NOT_FOUND' })).toBe(1);
    expect(more({ transport: 'ws', type: 'none', code: 'GRAPHQL_VALIDATION_FAILED' })).toBe(1);
    expect(sum(`${DURATION}_count`)).toBe(sum(OPERATIONS));
    expect(sum(`${DURATION}_sum`, { type: 'mutation' })).toBeGreaterThan(0);
    expect(of('bedrock_graphql_websockets')).toMatchObject([{ value: 1 }]);
    socket.socket.terminate();
    const sockets = async () => (await scrape(world.product.adminUrl)).sum('bedrock_graphql_websockets');
    await expect.poll(sockets).toBe(0);
  });

  it('have no label with a tenant, a user, an operation or an id', async () => {
    const { text, of } = await scrape(world.product.adminUrl);
    expect(text).not.toMatch(/acme|globex|ZebraName/i);
    expect(text).not.toContain(world.acme.member.id);
    const labels = [...of(OPERATIONS), ...of(`${DURATION}_sum`)].flatMap((sample) => Object.keys(sample.labels));
    expect([...new Set(labels)].sort()).toEqual(['code', 'transport', 'type']);
  });

  it('come with those of the process', async () => {
    const { sum } = await scrape(world.product.adminUrl);
    expect(sum('process_resident_memory_bytes')).toBeGreaterThan(0);
  });

  it('are not at the address of the API, nor is the API at theirs', async () => {
    expect(await rawHttp(world.url).get('/metrics')).toMatchObject({ status: 404 });
    const admin = rawHttp(world.product.adminUrl);
    expect(await admin.post('{ __typename }')).toMatchObject({ status: 404 });
    for (const path of ['/livez', '/readyz']) {
      expect(await admin.get(path)).toMatchObject({ status: 200, body: { status: 'ok' } });
    }
  });
});

/** The metrics of a server that does nothing else, with the gauges of the test. */
async function startAdmin(gauges: readonly GaugeSource[]) {
  const clock = createTestClock();
  const { log, lines } = captureLog();
  const metrics = createMetrics({ clock, log });
  gauges.forEach((gauge) => metrics.gauge(gauge));
  const server = createAdminServer({ metrics, checkReady: () => Promise.resolve(), log });
  const url = await listen(server, { host: '127.0.0.1', port: 0 }, 'ADMIN_PORT');
  return { url, clock, lines, metrics, stop: () => server.close() };
}

describe('a gauge', () => {
  const good: GaugeSource = { name: 'good', help: 'Is read.', read: () => 7 };
  const FAILING: Readonly<Record<string, () => number | Promise<number>>> = {
    'that throws': () => {
      throw new Error('no redis');
    },
    'that rejects': () => Promise.reject(new Error('no redis')),
    'that gives no number': () => Number('?'),
  };

  it.each(Object.entries(FAILING))('%s is left out, and the others are there', async (_name, read) => {
    const admin = await startAdmin([{ name: 'bad', help: 'Fails.', read }, good]);
    const { status, of } = await scrape(admin.url);
    expect(status).toBe(200);
    expect(of('bad')).toEqual([]);
    expect(of('good')).toMatchObject([{ value: 7 }]);
    expect(admin.lines).toMatchObject([{ msg: 'gauge left out', gauge: 'bad' }]);
    expect(admin.clock.pending()).toBe(0);
    await admin.stop();
  });

  it('that does not answer holds a scrape up for a second, and comes back when it answers again', async () => {
    let read = () => new Promise<number>(() => {});
    const admin = await startAdmin([{ name: 'slow', help: 'Hangs.', read: () => read() }, good]);
    let answered = false;
    const scraped = scrape(admin.url).finally(() => (answered = true));
    while (admin.clock.pending() === 0) await settle();
    await admin.clock.advance(GAUGE_TIMEOUT_MS - 1);
    expect(answered).toBe(false);
    await admin.clock.advance(1);
    const { of } = await scraped;
    expect(of('slow')).toEqual([]);
    expect(of('good')).toMatchObject([{ value: 7 }]);
    read = () => Promise.resolve(3);
    expect((await scrape(admin.url)).of('slow')).toMatchObject([{ value: 3 }]);
    await admin.stop();
  });

  it('that fails after it was read is not shown with its last value', async () => {
    let value: number | null = 5;
    const read = () => (value === null ? Promise.reject(new Error('gone')) : Promise.resolve(value));
    const admin = await startAdmin([{ name: 'fickle', help: 'Comes and goes.', read }]);
    expect((await scrape(admin.url)).of('fickle')).toMatchObject([{ value: 5 }]);
    value = null;
    expect((await scrape(admin.url)).of('fickle')).toEqual([]);
    await admin.stop();
  });
});

it('a counter is there from the beginning where it has no labels, and counts by them where it has', async () => {
  const admin = await startAdmin([]);
  const repaired = admin.metrics.counter('repairs_total', 'Repairs.');
  const ended = admin.metrics.counter('turns_total', 'Turns.', ['status']);
  expect((await scrape(admin.url)).of('repairs_total')).toMatchObject([{ value: 0 }]);
  repaired();
  for (const status of ['COMPLETED', 'COMPLETED', 'FAILED']) ended({ status });
  const { sum } = await scrape(admin.url);
  expect(sum('repairs_total')).toBe(1);
  expect(sum('turns_total', { status: 'COMPLETED' })).toBe(2);
  expect(sum('turns_total', { status: 'FAILED' })).toBe(1);
  await admin.stop();
});

it('durations are in seconds', async () => {
  const admin = await startAdmin([]);
  admin.metrics.operation({
    ...{ type: 'query', name: 'Zebra', runAs: null, transport: 'http', durationMs: 1_500, errorCodes: [] },
  });
  expect((await scrape(admin.url)).sum(`${DURATION}_sum`)).toBe(1.5);
  await admin.stop();
});

it('an address that is taken is refused with the name of its setting', async () => {
  const admin = await startAdmin([]);
  const port = Number(new URL(admin.url).port);
  const { log } = captureLog();
  const second = createAdminServer({ metrics: admin.metrics, checkReady: () => Promise.resolve(), log });
  await expect(listen(second, { host: '127.0.0.1', port }, 'ADMIN_PORT')).rejects.toThrow(
    `ADMIN_PORT: cannot listen on 127.0.0.1, port ${port}: the port is in use`,
  );
  await second.close();
  await admin.stop();
});
