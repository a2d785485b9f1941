import type { OperationCounts, OperationUsageStore } from '../../partners/ports.ts';
import type { Clock } from '../../kernel/clock.ts';
import type { TenantRows } from './conversation-store.ts';
import { keptUntil, type Item } from './table.ts';

/** How long the counts of an operation are kept that a key uses no more. */
const KEPT_MS = 90 * 86_400_000;

type CountsRow = Item & Omit<OperationCounts, 'operationId' | 'sketch'> & { readonly SK: string };

/** A bucket of the sketch is an attribute of its own, so that it can be added to. */
const BUCKET = /^l(\d+)$/;

/** Counters that are only ever added to: instances need not know of each other. */
export function createOperationUsageStore({ table, keys }: TenantRows, clock: Clock): OperationUsageStore {
  return {
    async add(keyId, { operationId, name, lastUsedAt, sketch, ...counts }) {
      const buckets = Object.entries(sketch).map(([bucket, count]) => [`l${bucket}`, count] as const);
      await table.update(keys.operationUsage(keyId, operationId), {
        set: { name, lastUsedAt, ...keptUntil(clock.now() + KEPT_MS) },
        add: { ...counts, ...Object.fromEntries(buckets) },
      });
    },
    async list(keyId) {
      const found: OperationCounts[] = [];
      for await (const row of table.rows<CountsRow>(keys.operationUsages(keyId))) {
        const { SK: operationId, name, calls, errors, wouldBeRefused, measured, latencySumMs, lastUsedAt } = row;
        const sketch = Object.entries(row).flatMap(([attribute, count]) => {
          const bucket = BUCKET.exec(attribute)?.[1];
          return bucket === undefined ? [] : [[bucket, Number(count)] as const];
        });
        found.push({
          ...{ operationId, name, calls, errors, wouldBeRefused, measured, latencySumMs, lastUsedAt },
          sketch: Object.fromEntries(sketch),
        });
      }
      return found;
    },
  };
}
