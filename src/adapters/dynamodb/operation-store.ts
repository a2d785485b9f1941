import type { PublishedOperation } from '../../partners/model.ts';
import type { OperationStore } from '../../partners/ports.ts';
import type { TenantRows } from './conversation-store.ts';
import { absent, equals } from './expressions.ts';
import type { Item } from './table.ts';

const WRITES_AT_ONCE = 10;

/** Short names: a thousand of them have to fit into one row (400 KB). */
interface Entry {
  readonly n: string;
  readonly p: string;
  readonly b: string;
  readonly d?: string;
  readonly s?: string;
}

interface IndexRow extends Item {
  readonly version: number;
  readonly operations: Readonly<Record<string, Entry>>;
}

const entryOf = ({ name, publishedAt, publication, deprecatedAt, sunsetAt }: PublishedOperation): Entry => ({
  ...{ n: name, p: publishedAt, b: publication },
  ...(deprecatedAt !== null && { d: deprecatedAt }),
  ...(sunsetAt !== null && { s: sunsetAt }),
});

/** One row names all operations of the tenant, and one row more for each holds its body. A body never changes: whatever is published again is another row. */
export function createOperationStore({ tenantId, table, keys }: TenantRows): OperationStore {
  const bodyKey = ({ id, publication }: PublishedOperation) => keys.operationBody(id, publication);

  return {
    async index() {
      const row = await table.get<IndexRow>(keys.operationIndex());
      const entries = Object.entries(row?.operations ?? {});
      return {
        version: row?.version ?? 0,
        operations: new Map(
          entries.map(([id, { n, p, b, d, s }]) => [
            id,
            { tenantId, id, name: n, publishedAt: p, publication: b, deprecatedAt: d ?? null, sunsetAt: s ?? null },
          ]),
        ),
      };
    },
    async replaceIndex({ version, operations }, before) {
      const entries = Object.fromEntries([...operations].map(([id, operation]) => [id, entryOf(operation)]));
      const row = { version, operations: entries, v: 1 };
      const unchanged = before === 0 ? absent('PK') : equals('version', before);
      return (await table.replace(keys.operationIndex(), row, unchanged)).done;
    },
    async bodies(operations) {
      const rows = await table.getMany<Item & { readonly body: string }>(operations.map(bodyKey), true);
      return rows.map((row) => row?.body ?? null);
    },
    async saveBodies(operations) {
      const queue = operations.values();
      const writer = async () => {
        for (const operation of queue) await table.put(bodyKey(operation), { body: operation.body, v: 1 });
      };
      await Promise.all(Array.from({ length: WRITES_AT_ONCE }, writer));
    },
    removeBodies: (operations) => table.removeMany(operations.map(bodyKey)),
  };
}
