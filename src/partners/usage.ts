import { isoTime, type Clock } from '../kernel/clock.ts';
import { badInput } from '../kernel/errors.ts';
import { bucketOf, quantile, type LatencySketch } from '../kernel/latency-sketch.ts';
import { repeat } from '../kernel/repeating.ts';
import type { TenantId } from '../tenancy/tenant-id.ts';
import type { OperationCounts, OperationUsageStore } from './ports.ts';

/** How often an instance stores what it has counted, in milliseconds. A crash loses what came after. */
export const FLUSH_EVERY_MS = 5_000;
/** Documents of their own that one key's counts name, in one process; more of them are counted together. */
export const IMPROVISED_NAMED_MAX = 200;
/** Keys of which it is known what they made up; beyond that the oldest begins anew. */
const IMPROVISERS_MAX = 1_000;
/** What those are called that are counted together. */
export const OTHERS = { id: 'others', name: '' };
/** Counts that may wait to be stored; beyond that, while the store is away, no more is counted. */
const WAITING_MAX = 20_000;
const WRITES_AT_ONCE = 10;

/** An operation of an API key that has ended. */
export interface EndedOperation {
  readonly tenantId: TenantId;
  readonly keyId: string;
  readonly operation: { readonly id: string; readonly name: string };
  /** Whether it ran only because the key is not held to published operations yet. */
  readonly tolerated: boolean;
  readonly failed: boolean;
  /** Null where it says nothing: a subscription takes as long as its reader likes. */
  readonly latencyMs: number | null;
}

/** What one key did with one operation. */
export interface OperationUsage {
  readonly operationId: string;
  readonly name: string;
  readonly calls: number;
  readonly errors: number;
  readonly wouldBeRefused: number;
  readonly averageLatencyMs: number;
  readonly latencyMs: { readonly p50: number; readonly p90: number; readonly p95: number; readonly p99: number };
  readonly lastUsedAt: string;
}

export interface OperationUsageRecorder {
  /** Counts in memory: nobody waits for it. */
  record(ended: EndedOperation): void;
  /** Stores what was counted. What could not be stored waits for the next time. */
  flush(): Promise<void>;
  /** Stores again and again, until the returned function is called. */
  start(): () => Promise<void>;
}

export interface OperationUsageDependencies {
  readonly storeOf: (tenantId: TenantId) => Pick<OperationUsageStore, 'add'>;
  /** Whether a tenant is still there, and not being removed: then nothing is stored for it any more. */
  readonly isOpen: (tenantId: TenantId) => Promise<boolean>;
  readonly clock: Clock;
  readonly flushFailed: (error: unknown) => void;
}

interface Waiting {
  readonly tenantId: TenantId;
  readonly keyId: string;
  readonly counts: OperationCounts;
}

const added = (a: OperationCounts, b: OperationCounts): OperationCounts => ({
  ...{ operationId: b.operationId, name: b.name, lastUsedAt: b.lastUsedAt },
  ...{ calls: a.calls + b.calls, errors: a.errors + b.errors, wouldBeRefused: a.wouldBeRefused + b.wouldBeRefused },
  ...{ measured: a.measured + b.measured, latencySumMs: a.latencySumMs + b.latencySumMs },
  sketch: Object.entries(b.sketch).reduce<LatencySketch>(
    (sum, [bucket, count]) => ({ ...sum, [bucket]: (sum[bucket] ?? 0) + count }),
    { ...a.sketch },
  ),
});

/** Counts what API keys do with each operation. The counts are added up in memory, and are right but for what a crash takes with it. */
export function createOperationUsageRecorder(deps: OperationUsageDependencies): OperationUsageRecorder {
  const { storeOf, isOpen, clock, flushFailed } = deps;
  let waiting = new Map<string, Waiting>();
  const improvised = new Map<string, Set<string>>();

  function add({ tenantId, keyId, counts }: Waiting) {
    const name = `${tenantId} ${keyId} ${counts.operationId}`;
    const known = waiting.get(name);
    if (!known && waiting.size >= WAITING_MAX) return;
    waiting.set(name, { tenantId, keyId, counts: known ? added(known.counts, counts) : counts });
  }

  /** Whoever sends documents of their own can make up as many as they like. */
  function named({ tenantId, keyId, operation, tolerated }: EndedOperation) {
    if (!tolerated) return operation;
    const key = `${tenantId} ${keyId}`;
    const ids = improvised.get(key) ?? new Set();
    improvised.set(key, ids);
    const [oldest = key] = improvised.keys();
    if (improvised.size > IMPROVISERS_MAX) improvised.delete(oldest);
    if (ids.size >= IMPROVISED_NAMED_MAX && !ids.has(operation.id)) return OTHERS;
    ids.add(operation.id);
    return operation;
  }

  async function store({ tenantId, keyId, counts }: Waiting) {
    if (await isOpen(tenantId)) await storeOf(tenantId).add(keyId, counts);
  }

  async function flush() {
    const all = [...waiting.values()];
    waiting = new Map();
    const queue = all.values();
    const failures: unknown[] = [];
    const worker = async () => {
      for (const each of queue) {
        await store(each).catch((error: unknown) => {
          failures.push(error);
          add(each);
        });
      }
    };
    await Promise.all(Array.from({ length: Math.min(WRITES_AT_ONCE, all.length) }, worker));
    if (failures.length > 0) flushFailed(failures[0]);
  }

  return {
    record(ended) {
      const { tenantId, keyId, tolerated, failed, latencyMs } = ended;
      const { id: operationId, name } = named(ended);
      const counts: OperationCounts = {
        ...{ operationId, name, calls: 1, errors: failed ? 1 : 0, wouldBeRefused: tolerated ? 1 : 0 },
        ...{ measured: latencyMs === null ? 0 : 1, latencySumMs: latencyMs ?? 0 },
        sketch: latencyMs === null ? {} : { [bucketOf(latencyMs)]: 1 },
        lastUsedAt: isoTime(clock.now()),
      };
      add({ tenantId, keyId, counts });
    },
    flush,
    start: () => repeat({ clock, everyMs: FLUSH_EVERY_MS, task: flush, failed: flushFailed }),
  };
}

const LIST_MAX = 1_000;

/** What a key did, the operation it used last first. @throws BAD_USER_INPUT for a number of rows out of range. */
export async function usageOfKey(store: Pick<OperationUsageStore, 'list'>, keyId: string, first: number) {
  if (first < 1 || first > LIST_MAX) throw badInput(`The list has 1 to ${LIST_MAX} rows.`, 'first');
  const all = await store.list(keyId);
  return [...all]
    .sort((a, b) => b.lastUsedAt.localeCompare(a.lastUsedAt))
    .slice(0, first)
    .map(({ measured, latencySumMs, sketch, ...counts }): OperationUsage => ({
      ...counts,
      averageLatencyMs: measured === 0 ? 0 : latencySumMs / measured,
      latencyMs: {
        ...{ p50: quantile(sketch, 0.5), p90: quantile(sketch, 0.9) },
        ...{ p95: quantile(sketch, 0.95), p99: quantile(sketch, 0.99) },
      },
    }));
}
