import type { TenantIssuer } from '../../federation/model.ts';
import type { IssuerDirectory } from '../../federation/ports.ts';
import { parseTenantId, type TenantId } from '../../tenancy/tenant-id.ts';
import { equals } from './expressions.ts';
import { issuerEntries, issuerEntry } from './keys.ts';
import type { Item, Table } from './table.ts';

interface EntryRow extends Item {
  readonly tenant: string;
  /** The name of the claim that tells tenants apart; left out: there is but one. */
  readonly claim?: string;
}

type Entry = Pick<TenantIssuer, 'issuer' | 'tenantClaim'>;

export function createIssuerDirectory(table: Table): IssuerDirectory {
  const keyOf = ({ issuer, tenantClaim }: Entry) => issuerEntry(issuer, tenantClaim?.value ?? null);
  const rowOf = (tenant: TenantId, { issuer, tenantClaim }: Entry) => ({ tenant, issuer, claim: tenantClaim?.name });

  return {
    async kindOf(issuer) {
      const [first] = await table.take<EntryRow>(issuerEntries(issuer), 1);
      if (!first) return null;
      return first.claim === undefined ? { kind: 'DEDICATED' } : { kind: 'SHARED', claim: first.claim };
    },
    async tenantOf(issuer, value) {
      const row = await table.get<EntryRow>(issuerEntry(issuer, value));
      return row && parseTenantId(row.tenant);
    },
    async enter(tenantId, entry) {
      const entered = await table.create<EntryRow>(keyOf(entry), { ...rowOf(tenantId, entry), v: 1 });
      if (entered.done) return tenantId;
      return parseTenantId(entered.current?.tenant ?? '') ?? tenantId;
    },
    async overtake(tenantId, from, entry) {
      return (await table.update(keyOf(entry), { set: rowOf(tenantId, entry) }, equals('tenant', from))).done;
    },
    remove: (tenantId, entry) => table.remove(keyOf(entry), equals('tenant', tenantId)),
  };
}
