import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { isoTime } from '../kernel/clock.ts';
import { ulid } from '../kernel/ids.ts';
import type { OperationStore } from '../partners/ports.ts';
import type { TenantId } from '../tenancy/tenant-id.ts';

/** A manifest as code generators write it: bodies by their ids. It stands beside the schema, since a change there must not break it. */
const FILE = join(import.meta.dirname, '../../schema/published-operations.json');

/** Publishes what a partner of a demo tenant needs, unless something was published before. */
export async function publishDemoOperations(tenantId: TenantId, store: OperationStore, nowMs: number): Promise<void> {
  const manifest = JSON.parse(readFileSync(FILE, 'utf8')) as Readonly<Record<string, string>>;
  if ((await store.index()).version > 0) return;
  const publication = ulid(nowMs);
  const operations = Object.entries(manifest).map(([id, body]) => ({
    ...{ tenantId, id: id.replace('sha256:', ''), name: /^\w+ (\w+)/.exec(body)?.[1] ?? '', body, publication },
    ...{ publishedAt: isoTime(nowMs), deprecatedAt: null, sunsetAt: null },
  }));
  await store.saveBodies(operations);
  await store.replaceIndex({ version: 1, operations: new Map(operations.map((each) => [each.id, each])) }, 0);
}
