import type { Founding, Tenant } from '../../tenants/model.ts';
import type { TenantDirectory } from '../../tenants/ports.ts';
import { pageOf } from '../../kernel/page.ts';
import type { Cursors } from '../../tenancy/cursor.ts';
import { parseTenantId } from '../../tenancy/tenant-id.ts';
import { absent, anyOf, equals, present } from './expressions.ts';
import { directory, directoryEntry, tenantKeys } from './keys.ts';
import type { Item, Table } from './table.ts';

type TenantRow = Item & Tenant & { readonly founding?: Founding };

/** An entry outlives its tenant: with `removedAt` it keeps the id from being used again, with `gone` nothing is behind it any more. */
type EntryRow = Item & { readonly SK: string; readonly removedAt?: string; readonly gone?: true };

const LIST = 'tenants';

const tenantOf = (row: TenantRow): Tenant => {
  const { id, name, status, agentIds, knowledgeBaseIds, limits, features, createdAt, updatedAt } = row;
  return {
    ...{ id, name, status, agentIds, knowledgeBaseIds, limits, features },
    // Rows of before these were thought of have none of them.
    conversationRetentionDays: row.conversationRetentionDays ?? null,
    alertPercentages: row.alertPercentages ?? null,
    allowedOrigins: row.allowedOrigins ?? [],
    ...{ createdAt, updatedAt, version: row.version ?? 1 },
  };
};

export function createTenantDirectory(table: Table, cursors: Cursors): TenantDirectory {
  return {
    async get(id) {
      const row = await table.get<TenantRow>(tenantKeys(id).tenant());
      return row && tenantOf(row);
    },

    async founding(id) {
      const row = await table.get<TenantRow>(tenantKeys(id).tenant());
      return row?.founding ?? null;
    },

    async create(tenant, founding) {
      const entry = await table.get<EntryRow>(directoryEntry(tenant.id));
      if (entry?.removedAt !== undefined) return false;
      const created = await table.create(tenantKeys(tenant.id).tenant(), { ...tenant, founding, v: 1 });
      // The entry follows the row it lists; writing it again mends a crash in between.
      await table.create(directoryEntry(tenant.id), { createdAt: tenant.createdAt });
      return created.done;
    },

    async replace({ id, ...configuration }) {
      const before = configuration.version - 1;
      const unchanged = equals('version', before);
      const result = await table.update(
        tenantKeys(id).tenant(),
        { set: configuration },
        equals('id', id),
        before === 1 ? anyOf(unchanged, absent('version')) : unchanged,
      );
      return result.done;
    },

    async leave(id, at) {
      await table.update(directoryEntry(id), { set: { removedAt: at } }, absent('removedAt'));
    },

    hasLeft: async (id) => (await table.get<EntryRow>(directoryEntry(id)))?.removedAt !== undefined,

    async forget(id) {
      await table.update(directoryEntry(id), { set: { gone: true } }, present('removedAt'));
      await table.remove(tenantKeys(id).tenant());
    },

    async page(request) {
      const { direction, size } = request;
      const cursor = cursors.open(LIST, request);
      const forward = direction === 'forward';
      const entries = await table.take<EntryRow>(
        {
          ...directory(),
          descending: !forward,
          filter: absent('gone'),
          ...(cursor !== null && (forward ? { after: cursor } : { before: cursor })),
        },
        size + 1,
      );
      const more = entries.length > size;
      const ids = entries.slice(0, size).flatMap(({ SK }) => parseTenantId(SK) ?? []);
      const rows = await table.getMany<TenantRow>(ids.map((id) => tenantKeys(id).tenant()));
      const edges = rows.flatMap((row) => (row ? { cursor: cursors.seal(LIST, row.id), node: tenantOf(row) } : []));
      return forward
        ? pageOf(edges, { hasNextPage: more, hasPreviousPage: cursor !== null })
        : pageOf(edges.reverse(), { hasNextPage: cursor !== null, hasPreviousPage: more });
    },

    async *ids() {
      for await (const { SK } of table.rows<EntryRow>({
        ...directory(),
        filter: absent('removedAt'),
        keysOnly: true,
      })) {
        const id = parseTenantId(SK);
        if (id !== null) yield id;
      }
    },
  };
}
