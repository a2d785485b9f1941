import type { IssuerSettings } from '../../federation/model.ts';
import type { IssuerStore } from '../../federation/ports.ts';
import type { TenantRows } from './conversation-store.ts';
import { absent, equals } from './expressions.ts';
import type { Item } from './table.ts';

/** A row beside the tenant's own, which nothing but the verification of tokens reads. */
export const createIssuerStore = ({ table, keys }: TenantRows): IssuerStore => ({
  async get() {
    const row = await table.get<Item & IssuerSettings>(keys.issuers());
    return { issuers: row?.issuers ?? [], version: row?.version ?? 0 };
  },
  async replace({ issuers, version }) {
    const before = version === 1 ? absent('version') : equals('version', version - 1);
    return (await table.update(keys.issuers(), { set: { issuers, version, v: 1 } }, before)).done;
  },
});
