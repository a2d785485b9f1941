import { ScanCommand } from '@aws-sdk/lib-dynamodb';
import type { AllRows } from '../../tenants/ports.ts';
import type { TenantId } from '../../tenancy/tenant-id.ts';
import { memorials, SYSTEM_PREFIX, tenantKeys, tenantPrefix, type Key } from './keys.ts';
import type { Sender, Table } from './table.ts';

/** Rows removed at the same time: more would be one tenant's burst on the capacity of all. */
const REMOVED_AT_ONCE = 250;

interface Place {
  /** Which of the tables. */
  readonly table: number;
  /** The last key that was looked at there. */
  readonly after: Key | null;
}

/** A row in one of the tenant's partitions, or one outside them that says it is the tenant's. */
const FILTER = 'begins_with(PK, :tenant) OR (begins_with(PK, :system) AND (SK = :id OR tenant = :id))';

const filterValues = (tenantId: TenantId) => ({
  ':tenant': tenantPrefix(tenantId),
  ':system': SYSTEM_PREFIX,
  ':id': tenantId,
});

/**
 * Reads whole tables, page by page. It is the only Scan there is, and reaches no store and no resolver: what a tenant left is found by it
 * without anybody having to know what kinds of rows there are.
 */
export function createAllRows(
  doc: Sender,
  tables: readonly { readonly name: string; readonly table: Table }[],
): AllRows {
  const behind = (table: number): Place | null => (table < tables.length ? { table, after: null } : null);

  return {
    async removeSome(tenantId, text) {
      const place = text === null ? { table: 0, after: null } : (JSON.parse(text) as Place);
      const source = tables[place.table];
      if (!source) throw new Error('There is no such table to remove rows from.');
      const page = await doc.send(
        new ScanCommand({
          TableName: source.name,
          ConsistentRead: true,
          ProjectionExpression: 'PK, SK',
          FilterExpression: FILTER,
          ExpressionAttributeValues: filterValues(tenantId),
          ...(place.after && { ExclusiveStartKey: { ...place.after } }),
        }),
      );
      const own = tenantKeys(tenantId).tenant();
      const found = ((page.Items ?? []) as Key[]).filter(
        ({ PK, SK }) => !memorials().includes(PK) && !(PK === own.PK && SK === own.SK),
      );
      for (let from = 0; from < found.length; from += REMOVED_AT_ONCE)
        await source.table.removeMany(found.slice(from, from + REMOVED_AT_ONCE));
      const after = (page.LastEvaluatedKey ?? null) as Key | null;
      const next = after ? { table: place.table, after } : behind(place.table + 1);
      return {
        rowsRead: page.ScannedCount ?? 0,
        rowsRemoved: found.length,
        next: next && JSON.stringify(next),
      };
    },
  };
}
