import type { Tenant } from '../../tenants/model.ts';
import type { TenantDirectory } from '../../tenants/ports.ts';
import { parseTenantId } from '../../tenancy/tenant-id.ts';
import { directory, directoryEntry, tenantKeys } from './keys.ts';
import type { Item, Table } from './table.ts';

type TenantRow = Item & Tenant;

export const createTenantDirectory = (table: Table): TenantDirectory => ({
  async get(id) {
    const row = await table.get<TenantRow>(tenantKeys(id).tenant());
    if (!row) return null;
    const { name, status, agentIds, knowledgeBaseIds, limits, features, createdAt, updatedAt } = row;
    return { id, name, status, agentIds, knowledgeBaseIds, limits, features, createdAt, updatedAt };
  },
  async create(tenant) {
    const created = await table.create(tenantKeys(tenant.id).tenant(), { ...tenant, v: 1 });
    // The entry follows the row it lists; writing it again mends a crash in between.
    await table.create(directoryEntry(tenant.id), { createdAt: tenant.createdAt });
    return created.done;
  },
  async *ids() {
    for await (const { SK } of table.rows<Item & { SK: string }>({ ...directory(), keysOnly: true })) {
      const id = parseTenantId(SK);
      if (id !== null) yield id;
    }
  },
});
