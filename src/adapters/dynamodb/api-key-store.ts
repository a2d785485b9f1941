import type { StoredApiKey } from '../../partners/model.ts';
import type { ApiKeyStore } from '../../partners/ports.ts';
import { apiKeyPrefix } from '../../tenancy/api-key.ts';
import type { TenantId } from '../../tenancy/tenant-id.ts';
import type { TenantRows } from './conversation-store.ts';
import { absent, allOf, anyOf, below, present } from './expressions.ts';
import type { Item } from './table.ts';

type ApiKeyRow = Item &
  Pick<StoredApiKey, 'id' | 'name' | 'scopes' | 'enforcement' | 'createdAt' | 'secretHash'> &
  Partial<Pick<StoredApiKey, 'operationIds' | 'expiresAt' | 'lastUsedAt' | 'revokedAt'>>;

const apiKeyOf = (tenantId: TenantId, row: ApiKeyRow): StoredApiKey => ({
  ...{ tenantId, id: row.id, name: row.name, prefix: apiKeyPrefix(tenantId, row.id), scopes: row.scopes },
  ...{
    operationIds: row.operationIds ?? null,
    enforcement: row.enforcement,
    expiresAt: row.expiresAt ?? null,
    lastUsedAt: row.lastUsedAt ?? null,
  },
  ...{ revokedAt: row.revokedAt ?? null, createdAt: row.createdAt, secretHash: row.secretHash },
});

export function createApiKeyStore({ tenantId, table, keys }: TenantRows): ApiKeyStore {
  const keyOf = (row: ApiKeyRow | null) => row && apiKeyOf(tenantId, row);
  return {
    get: async (id) => keyOf(await table.get<ApiKeyRow>(keys.apiKey(id))),
    async list() {
      const found: StoredApiKey[] = [];
      for await (const row of table.rows<ApiKeyRow>({ ...keys.apiKeys(), descending: true }))
        found.push(apiKeyOf(tenantId, row));
      return found;
    },
    async create({ tenantId: _tenant, prefix: _prefix, lastUsedAt: _used, revokedAt: _revoked, ...stored }) {
      const row = { ...stored, v: 1 };
      const given = Object.fromEntries(Object.entries(row).filter(([, value]) => value !== null));
      return (await table.create(keys.apiKey(stored.id), given)).done;
    },
    remove: (id) => table.remove(keys.apiKey(id)),
    async revoke(id, at) {
      const result = await table.update<ApiKeyRow>(
        keys.apiKey(id),
        { set: { revokedAt: at } },
        present('PK'),
        absent('revokedAt'),
      );
      return keyOf(result.done ? result.item : result.current);
    },
    async setEnforcement(id, enforcement) {
      const result = await table.update<ApiKeyRow>(keys.apiKey(id), { set: { enforcement } }, present('PK'));
      return result.done ? apiKeyOf(tenantId, result.item) : null;
    },
    async used(id, at) {
      const latest = allOf(present('PK'), anyOf(absent('lastUsedAt'), below('lastUsedAt', at)));
      await table.update(keys.apiKey(id), { set: { lastUsedAt: at } }, latest);
    },
  };
}
