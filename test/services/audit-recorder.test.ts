import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { openAuditSpool } from '../../src/adapters/files/audit-spool.ts';
import { boundDenials, DENIALS_MAX } from '../../src/audit/denials.ts';
import type { AuditFact } from '../../src/audit/model.ts';
import { ulid } from '../../src/kernel/ids.ts';
import { aFact, awayable, startRecorder, trailOf } from '../support/audit.ts';
import { createTestClock, settle } from '../support/clock.ts';
import { openEmbeddedStorage, type Storage } from '../support/dynamodb-storage.ts';
import { dataFolder } from '../support/product-process.ts';

let storage: Storage;
beforeAll(async () => {
  storage = await openEmbeddedStorage();
});
afterAll(() => storage.close());
const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

function setUp() {
  const clock = createTestClock();
  const folder = dataFolder();
  cleanups.push(folder.remove);
  const store = awayable(storage.connect().audit);
  const spoolOf = (writer: string) => openAuditSpool(folder.path, writer, clock);
  return { clock, store, folder: folder.path, spoolOf, tenantId: storage.tenant() };
}

const numbers = (count: number) => Array.from({ length: count }, (_, n) => n);

describe('the audit recorder', () => {
  it('with the store away for 60 s loses nothing, keeps the order, and stores each entry once', async () => {
    const { clock, store, spoolOf, tenantId } = setUp();
    const writer = ulid(clock.now());
    const { recorder, told } = startRecorder({ trails: store, clock, spool: await spoolOf(writer), writer });
    store.state.away = true;
    for (const n of numbers(60)) {
      recorder.record(aFact(tenantId, { details: { n } }));
      await clock.advance(1_000);
    }
    expect(await trailOf(storage.connect().audit, tenantId)).toEqual([]);
    expect(recorder.waiting()).toBeGreaterThan(0);
    store.state.away = false;
    await clock.advance(30_000);
    await recorder.idle();
    const entries = await trailOf(storage.connect().audit, tenantId);
    expect(entries.map(({ details }) => details['n'])).toEqual(numbers(60));
    expect(entries.map(({ sequence }) => sequence)).toEqual(numbers(60).map((n) => n + 1));
    expect(recorder.waiting()).toBe(0);
    expect(told).toContain('undelivered 1');
    expect(told.filter((each) => each.startsWith('lost'))).toEqual([]);
    await recorder.close();
  });

  it('what a process left in the spool when it was killed is stored once by the next one, and its folder is gone', async () => {
    const { clock, store, spoolOf, folder, tenantId } = setUp();
    store.state.away = true;
    const first = ulid(clock.now());
    const spool = await spoolOf(first);
    const killed = startRecorder({ trails: store, clock, spool, writer: first });
    for (const n of numbers(50)) killed.recorder.record(aFact(tenantId, { details: { n } }));
    await settle();
    await killed.recorder.close(); // the store does not answer it any more: all stays in the spool
    expect(existsSync(join(folder, first))).toBe(true);

    store.state.away = false;
    const second = ulid(clock.now() + 1);
    const next = startRecorder({ trails: store, clock, spool: await spoolOf(second), writer: second });
    next.recorder.start();
    await expect.poll(() => readdirSync(folder), { timeout: 20_000 }).toEqual([second]);
    const entries = await trailOf(store, tenantId);
    expect(entries.map(({ details }) => details['n'])).toEqual(numbers(50));
    expect(new Set(entries.map(({ writer }) => writer))).toEqual(new Set([first]));
    await next.recorder.close();
    expect(readdirSync(folder)).toEqual([]);
  });

  it('takes nothing from a process that is still there', async () => {
    const { clock, store, spoolOf, tenantId } = setUp();
    store.state.away = true;
    const [one, two] = [ulid(clock.now()), ulid(clock.now() + 1)];
    const living = startRecorder({ trails: store, clock, spool: await spoolOf(one), writer: one });
    living.recorder.record(aFact(tenantId));
    await settle();
    expect(await (await spoolOf(two)).adopt()).toEqual([]);
    await living.recorder.close();
  });

  it('a disk that fails costs nothing while the store takes entries', async () => {
    const { clock, store, tenantId } = setUp();
    const broken = () => Promise.reject(new Error('no space left on the device'));
    const spool = { open: broken, adopt: () => Promise.resolve([]), close: () => Promise.resolve() };
    const { recorder, told } = startRecorder({ trails: store, clock, spool });
    for (const n of numbers(3)) recorder.record(aFact(tenantId, { details: { n } }));
    await recorder.idle();
    expect((await trailOf(store, tenantId)).map(({ details }) => details['n'])).toEqual([0, 1, 2]);
    expect(told).toEqual(['spool failed']);
    await recorder.close();
  });

  it('what does not fit any more is counted and logged, and the trail itself says so', async () => {
    const { clock, store, tenantId } = setUp();
    const { recorder, told } = startRecorder({ trails: store, clock, memoryBytesMax: 2_000 });
    store.state.away = true;
    for (const n of numbers(50)) recorder.record(aFact(tenantId, { details: { n } }));
    const lost = told.filter((each) => each === 'lost 1').length;
    expect(lost).toBeGreaterThan(40);
    store.state.away = false;
    await clock.advance(60_000);
    await recorder.idle();
    const entries = await trailOf(store, tenantId);
    expect(entries.map(({ details }) => details['n'])).toEqual([...numbers(50 - lost), undefined]);
    expect(entries.at(-1)).toMatchObject({ action: 'audit.lost', details: { entries: lost } });
    await recorder.close();
  });
});

describe('refusals', () => {
  it('of a flood are recorded up to 20 a minute, and the others counted in one entry', async () => {
    const clock = createTestClock();
    const recorded: AuditFact[] = [];
    const record = boundDenials((fact) => recorded.push(fact), clock);
    const tenantId = storage.tenant();
    const denied = aFact(tenantId, { result: 'FAILURE', details: { code: 'FORBIDDEN' } });
    for (let n = 0; n < 10_000; n++) record(denied);
    record(aFact(tenantId));
    record(aFact(tenantId, { result: 'FAILURE', details: { code: 'CONFLICT' } }));
    expect(recorded).toHaveLength(DENIALS_MAX + 2);
    await clock.advance(60_000);
    expect(recorded).toHaveLength(DENIALS_MAX + 3);
    expect(recorded.at(-1)).toMatchObject({
      action: 'access.denied',
      details: { code: 'FORBIDDEN', count: 10_000 - DENIALS_MAX },
    });
    expect(clock.pending()).toBe(0);
  });
});
