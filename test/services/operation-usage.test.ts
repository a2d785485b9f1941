import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { OperationUsageStore } from '../../src/partners/ports.ts';
import {
  createOperationUsageRecorder,
  FLUSH_EVERY_MS,
  IMPROVISED_NAMED_MAX,
  usageOfKey,
  type EndedOperation,
} from '../../src/partners/usage.ts';
import { newApiKeyId } from '../../src/tenancy/api-key.ts';
import { createTestClock, settle } from '../support/clock.ts';
import { openEmbeddedStorage, type Storage } from '../support/dynamodb-storage.ts';

let storage: Storage;
beforeAll(async () => {
  storage = await openEmbeddedStorage();
});
afterAll(() => storage.close());

function open(failing: () => boolean = () => false) {
  const clock = createTestClock(Date.now());
  const tenantId = storage.tenant();
  const keyId = newApiKeyId(clock.now());
  const failures: unknown[] = [];
  const removed = new Set<string>();
  let writes = 0;
  const db = storage.connect({ clock });
  const store = db.forTenant(tenantId).operationUsage;
  const recorder = () =>
    createOperationUsageRecorder({
      storeOf: (home) => ({
        add: (...args: Parameters<OperationUsageStore['add']>) => {
          writes++;
          return failing()
            ? Promise.reject(new Error('the store is away'))
            : db.forTenant(home).operationUsage.add(...args);
        },
      }),
      isOpen: () => Promise.resolve(!removed.has(tenantId)),
      clock,
      flushFailed: (error) => void failures.push(error),
    });
  const ended = (changes: Partial<EndedOperation> = {}): EndedOperation => ({
    ...{ tenantId, keyId, operation: { id: 'a', name: 'A' }, tolerated: false, failed: false, latencyMs: 10 },
    ...changes,
  });
  const usage = (first = 100) => usageOfKey(store, keyId, first);
  return { clock, tenantId, removed, keyId, failures, writes: () => writes, recorder, ended, usage, store };
}

describe('what an API key does', () => {
  it('is counted by operation: calls, errors, what would be refused, latency and last use, over all instances', async () => {
    const { clock, recorder, ended, usage } = open();
    const [here, there] = [recorder(), recorder()];
    for (let n = 1; n <= 99; n++) here.record(ended({ latencyMs: n }));
    there.record(ended({ latencyMs: 10_000, failed: true }));
    await Promise.all([here.flush(), there.flush()]);
    await clock.advance(1_000);
    here.record(ended({ operation: { id: 'b', name: 'B' }, latencyMs: null }));
    here.record(ended({ operation: { id: 'c', name: '' }, tolerated: true, latencyMs: 0 }));
    await here.flush();
    const [first, second, a] = await usage();
    expect([first, second].map((row) => row?.operationId).sort()).toEqual(['b', 'c']);
    expect([first, second].find((row) => row?.operationId === 'b')).toEqual({
      ...{ operationId: 'b', name: 'B', calls: 1, errors: 0, wouldBeRefused: 0, averageLatencyMs: 0 },
      ...{ latencyMs: { p50: 0, p90: 0, p95: 0, p99: 0 }, lastUsedAt: new Date(clock.now()).toISOString() },
    });
    expect([first, second].find((row) => row?.operationId === 'c')).toMatchObject({ calls: 1, wouldBeRefused: 1 });
    expect(a).toMatchObject({ calls: 100, errors: 1, wouldBeRefused: 0, averageLatencyMs: (99 * 50 + 10_000) / 100 });
    expect(Math.abs(a!.latencyMs.p50 - 50)).toBeLessThanOrEqual(1);
    expect(Math.abs(a!.latencyMs.p99 - 99)).toBeLessThanOrEqual(2);
    expect(await usage(1)).toHaveLength(1);
    await expect(usage(0)).rejects.toMatchObject({ code: 'BAD_USER_INPUT', details: { field: 'first' } });
  });

  it('costs one write for each operation every few seconds, however often it is run, and none while nothing is', async () => {
    const { clock, recorder, ended, writes } = open();
    const counting = recorder();
    const stop = counting.start();
    for (let n = 0; n < 500; n++) counting.record(ended());
    await settle();
    expect(writes()).toBe(0);
    await clock.advance(FLUSH_EVERY_MS);
    await expect.poll(writes).toBe(1);
    await clock.advance(FLUSH_EVERY_MS);
    await stop();
    expect(writes()).toBe(1);
  });

  it('waits while the store is away, and is complete afterwards', async () => {
    let away = true;
    const { recorder, ended, usage, failures } = open(() => away);
    const counting = recorder();
    counting.record(ended({ latencyMs: 5 }));
    await counting.flush();
    counting.record(ended({ latencyMs: 7 }));
    await counting.flush();
    expect(failures).toHaveLength(2);
    expect(await usage()).toEqual([]);
    away = false;
    await counting.flush();
    expect(await usage()).toMatchObject([{ calls: 2, averageLatencyMs: 6 }]);
  });

  it('names a bounded number of documents that a key made up itself; the rest are counted together', async () => {
    const { recorder, ended, usage } = open();
    const counting = recorder();
    for (let n = 0; n < IMPROVISED_NAMED_MAX + 50; n++)
      counting.record(ended({ operation: { id: `made-up-${n}`, name: '' }, tolerated: true }));
    for (let n = 0; n < 50; n++) counting.record(ended({ operation: { id: 'made-up-0', name: '' }, tolerated: true }));
    counting.record(ended());
    await counting.flush();
    const rows = await usage(1_000);
    expect(rows).toHaveLength(IMPROVISED_NAMED_MAX + 2);
    expect(rows.find(({ operationId }) => operationId === 'others')?.calls).toBe(50);
    expect(rows.find(({ operationId }) => operationId === 'made-up-0')?.calls).toBe(51);
  });

  it('is not stored any more for a tenant that is being removed: nothing of it comes back', async () => {
    const { recorder, ended, usage, removed, tenantId, failures } = open();
    const counting = recorder();
    counting.record(ended());
    removed.add(tenantId);
    await counting.flush();
    expect([await storage.rowsOf(tenantId), failures]).toEqual([[], []]);
    removed.clear();
    await counting.flush();
    expect(await usage()).toEqual([]);
  });

  it('is forgotten 90 days after the last use of an operation', async () => {
    const { clock, recorder, ended, usage } = open();
    const counting = recorder();
    counting.record(ended());
    await counting.flush();
    await clock.advance(90 * 86_400_000 + 1_000);
    expect(await usage()).toEqual([]);
  });
});
