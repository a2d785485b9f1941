import { once } from 'node:events';
import { fastify } from 'fastify';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { ContextBinder, RequestContext, TenantServices } from '../../src/context.ts';
import { systemClock, type Clock } from '../../src/kernel/clock.ts';
import { AppError } from '../../src/kernel/errors.ts';
import { serveExports } from '../../src/server/exports.ts';
import { createExportLinks } from '../../src/exports/links.ts';
import { OWN, principalOf } from '../support/bound-api.ts';
import { captureLog } from '../support/log-capture.ts';
import { createTestClock } from '../support/clock.ts';
import { beginDownload, exportPath, type Download } from '../support/download.ts';
import { startManyEvents } from '../support/many-events.ts';
import { startOwnStorage } from '../support/own-storage.ts';
import { startProduct, type ProductProcess } from '../support/product-process.ts';
import { signInAt } from '../support/remote-caller.ts';
import { scrape } from '../support/scrape.ts';
import { startWorld, testConfig, type World } from '../support/world.ts';

const MB = 1024 * 1024;
const HOUR_MS = 3_600_000;
const START = Date.parse('2025-03-01T10:00:00.000Z');
/** No more of it than this may grow while 100,000 events pass. */
const GROWTH_MB_MAX = 64;

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

const linesIn = (chunk: Buffer): number => {
  let lines = 0;
  for (let at = chunk.indexOf(10); at >= 0; at = chunk.indexOf(10, at + 1)) lines++;
  return lines;
};

let storage: Awaited<ReturnType<typeof startOwnStorage>>;
/** 100,000 events, and some that fill every buffer between a server and a client that does not read. */
let many: Awaited<ReturnType<typeof startManyEvents>>;
let some: typeof many;
beforeAll(async () => {
  storage = await startOwnStorage();
  const from = { tenant: 'acme', startMs: START };
  many = await startManyEvents(storage.config.storage.endpoint, { ...from, hours: 5, perHour: 20_000 });
  some = await startManyEvents(storage.config.storage.endpoint, { ...from, hours: 2, perHour: 10_000 });
});
afterAll(async () => {
  await Promise.all([many.close(), some.close()]);
  await storage.close();
});

const config = () => ({ ...storage.config, storage: { kind: 'dynamodb', endpoint: some.endpoint } as const });

describe('100,000 events', () => {
  let product: ProductProcess;
  beforeAll(() => {
    const { tablePrefix, demoPassword } = testConfig();
    product = startProduct({
      ...{ STORAGE: 'dynamodb', DYNAMODB_ENDPOINT: many.endpoint, TABLE_PREFIX: tablePrefix },
      ...{ AWS_ACCESS_KEY_ID: 'embedded', AWS_SECRET_ACCESS_KEY: 'embedded', DEMO_PASSWORD: demoPassword },
      JWT_SIGNING_KEY: JSON.stringify(storage.config.secrets.signingKey),
      CURSOR_SECRET: storage.config.secrets.cursorSecret,
    });
  });
  afterAll(() => product.destroy());

  it('all of them, in a process that grows by less than 64 MB', async () => {
    const url = await product.url;
    const { adminUrl } = product.log().find(({ msg }) => msg === 'listening') as unknown as { adminUrl: string };
    const { token } = await signInAt(url, { email: 'admin@acme.example' });
    async function memory() {
      const metrics = await scrape(adminUrl);
      const heap = metrics.sum('nodejs_heap_size_used_bytes') / MB;
      return { heap, resident: metrics.sum('process_resident_memory_bytes') / MB };
    }
    /** Downloads it all, and returns the lines and the most memory there was meanwhile. */
    async function download(period: { readonly start: string; readonly end: string }, format: string) {
      const peak = { heap: 0, resident: 0 };
      let [lines, bytes, looked] = [0, 0, 0];
      const { response } = await beginDownload(url + exportPath({ ...period, format }), {
        authorization: `Bearer ${token}`,
      });
      for await (const chunk of response as AsyncIterable<Buffer>) {
        lines += linesIn(chunk);
        bytes += chunk.length;
        if (bytes - looked < 2 * MB) continue;
        looked = bytes;
        const { heap, resident } = await memory();
        Object.assign(peak, { heap: Math.max(peak.heap, heap), resident: Math.max(peak.resident, resident) });
      }
      return { lines, bytes, peak };
    }

    const cold = await memory();
    // While it becomes busy, V8 takes more memory for what is young, whatever is asked of it, and never gives it back.
    const part = await download({ ...many.period, end: new Date(START + HOUR_MS).toISOString() }, 'csv');
    expect(part.lines).toBe(many.events / 5 + 1);
    const warm = await memory();
    const whole = await download(many.period, 'jsonl');
    expect(whole.lines).toBe(many.events);
    expect(whole.bytes).toBeGreaterThan(50 * MB);
    expect(whole.peak.resident - warm.resident).toBeLessThan(GROWTH_MB_MAX);
    // From the very start, of what is in use or not yet collected.
    expect(Math.max(part.peak.heap, whole.peak.heap) - cold.heap).toBeLessThan(GROWTH_MB_MAX);
  }, 60_000);
});

describe('a download', () => {
  let world: World;
  beforeAll(async () => {
    world = await startWorld({ config: config() });
  });
  afterAll(() => world.stop());

  const queries = () =>
    world.requests.filter(
      // What the background looks for, it looks for in an index.
      ({ operation, index, phase }) => operation === 'QueryCommand' && index === null && phase === 'sent',
    ).length;
  /** The number of queries once it has not grown for a while. */
  async function settled(): Promise<number> {
    let before = queries();
    for (let quiet = 0; quiet < 4;) {
      await pause(300);
      const now = queries();
      quiet = now === before ? quiet + 1 : 0;
      before = now;
    }
    return before;
  }
  const begin = (): Promise<Download> =>
    beginDownload(world.url + exportPath({ ...some.period, format: 'jsonl' }), world.acme.admin.headers);
  /** All pages of both hours. */
  const PAGES = 100;

  it('reads the store page by page, once', async () => {
    const before = queries();
    const { response } = await begin();
    for await (const _chunk of response);
    // One more for the marks, and one for the end of an hour that a full page reached.
    expect(queries() - before).toBeLessThanOrEqual(PAGES + 3);
    expect(queries() - before).toBeGreaterThanOrEqual(PAGES);
  });

  it('whose client stops reading stops the reading of the store, and goes on with it', async () => {
    const before = queries();
    const { response } = await begin();
    await once(response, 'readable'); // nothing is taken from it yet
    const stopped = await settled();
    expect(stopped - before).toBeLessThan(PAGES * 0.8);
    await pause(1_000);
    expect(queries()).toBe(stopped);
    let rows = 0;
    for await (const chunk of response as AsyncIterable<Buffer>) rows += linesIn(chunk);
    expect(rows).toBe(some.events);
    expect(queries() - before).toBeGreaterThanOrEqual(PAGES);
  });

  it('whose client leaves ends the reading of the store', async () => {
    const before = queries();
    const { response, leave } = await begin();
    await once(response, 'data');
    leave();
    const left = await settled();
    expect(left - before).toBeLessThan(PAGES * 0.8);
    await pause(500);
    expect(queries()).toBe(left);
  });

  it('that was cut off goes on behind the last whole line, and both make the whole', async () => {
    const { response, leave } = await begin();
    let had = '';
    for await (const chunk of response as AsyncIterable<Buffer>) {
      had += chunk.toString();
      if (had.length > 3 * MB) break;
    }
    leave();
    const whole = had.slice(0, had.lastIndexOf('\n') + 1);
    expect(whole.length).toBeLessThan(had.length);
    const { id: after } = JSON.parse(whole.trimEnd().split('\n').at(-1)!) as { id: string };
    const rest = await fetch(world.url + exportPath({ ...some.period, format: 'jsonl', after }), world.acme.admin);
    const lines = (whole + (await rest.text())).trimEnd().split('\n');
    const ids = lines.map((line) => (JSON.parse(line) as { id: string }).id);
    expect(ids).toHaveLength(some.events);
    expect(ids.every((id, n) => n === 0 || id > ids[n - 1]!)).toBe(true);
  });
});

it('a server that stops cuts off the download that nobody reads, and stops', async () => {
  const world = await startWorld({ config: { ...config(), shutdownGraceMs: 0 } });
  const { response } = await beginDownload(world.url + exportPath(some.period), world.acme.admin.headers);
  await once(response, 'readable');
  const began = Date.now();
  await world.stop();
  expect(Date.now() - began).toBeLessThan(10_000);
  const ended = new Promise<boolean>((resolve) => response.on('close', () => resolve(response.complete)));
  response.resume();
  expect(await ended).toBe(false); // the client can tell
});

it('a download ends within 30 s of its maker’s session', async () => {
  const clock = createTestClock();
  const world = await startWorld({ config: config(), clock });
  const admin = await world.signIn('acme', 'admin@acme.example');
  const { response } = await beginDownload(world.url + exportPath(some.period), admin.headers);
  await once(response, 'readable');
  const ended = new Promise<boolean>((resolve) => response.on('close', () => resolve(response.complete)));
  await world.nobody.run('mutation($token: String!) { signOut(refreshToken: $token) }', { token: admin.refreshToken });
  await clock.advance(30_000);
  response.resume();
  expect(await ended).toBe(false); // the client can tell
  await world.stop();
});

/** Serves an export without an end to somebody of `OWN`, and says what becomes of it. */
async function serveEndless({
  clock = systemClock,
  stalledMs = 120_000,
  expiresAt = Infinity,
}: {
  clock?: Clock;
  stalledMs?: number;
  expiresAt?: number;
}) {
  const { log, lines } = captureLog();
  const http = fastify();
  const state = { ended: false, refusal: null as AppError | null };
  async function* endless() {
    try {
      for (;;) yield await Promise.resolve('x'.repeat(MB));
    } finally {
      state.ended = true;
    }
  }
  const principal = principalOf('TENANT_ADMIN', expiresAt);
  const tenant = { scope: { tenantId: OWN, principal }, exports: { text: endless } } as unknown as TenantServices;
  serveExports(http, {
    contextOf: () => Promise.resolve({ requestId: 'stalled', identity: { principal, fault: null } } as RequestContext),
    renewed: (context) => Promise.resolve(context),
    binder: {
      audit: () => {},
      bindTenant: () => (state.refusal ? Promise.reject(state.refusal) : Promise.resolve(tenant)),
    } as unknown as ContextBinder,
    links: createExportLinks('a secret of the tests, long enough for it', systemClock),
    ...{ clock, log, stalledMs },
  });
  const url = await http.listen({ host: '127.0.0.1', port: 0 });
  const { response, leave } = await beginDownload(url + exportPath(some.period));
  await once(response, 'readable');
  const close = () => (leave(), http.close());
  return { state, close, outcome: () => lines.find(({ msg }) => msg === 'export') };
}

it('a download may outlast its token, but not the use of its tenant', async () => {
  const clock = createTestClock();
  const { state, close, outcome } = await serveEndless({ clock, expiresAt: clock.now() + 1_000 });
  await clock.advance(60_000);
  expect(state.ended).toBe(false);
  state.refusal = new AppError('TENANT_SUSPENDED', 'This tenant is suspended.');
  await clock.advance(5_000);
  await vi.waitFor(() => expect(outcome()).toMatchObject({ tenantId: OWN, export: { outcome: 'refused' } }));
  expect(state.ended).toBe(true);
  await clock.advance(5_000);
  expect(clock.pending()).toBe(0);
  await close();
});

it('a client that takes nothing for too long is given up, and what was read for it is let go', async () => {
  const { state, close, outcome } = await serveEndless({ stalledMs: 300 });
  await vi.waitFor(() => expect(state.ended).toBe(true), 5_000);
  expect(outcome()).toMatchObject({ tenantId: OWN, export: { outcome: 'left' } });
  await close();
});
