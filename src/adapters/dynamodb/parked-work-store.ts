import type { ParkedWork, ParkedWorkKind } from '../../parked/model.ts';
import type { ParkedWorkStore } from '../../parked/ports.ts';
import type { Cursors } from '../../tenancy/cursor.ts';
import type { TenantRows } from './conversation-store.ts';
import { pageOfRows, pageQuery } from './pages.ts';
import type { Item, Table } from './table.ts';

const LIST = 'parked work';

interface ListedRow extends Item {
  readonly gsi3SK: string;
}

/**
 * The parked rows of one tenant, of whatever kind and table. While a row is parked it stands in the tenant's own index, besides that of the
 * sweepers, under a key that says what there is to say: the row itself, with the content of a message in it, is not read.
 */
export function createParkedWorkStore(
  { tenantId, keys }: Pick<TenantRows, 'tenantId' | 'keys'>,
  tables: readonly Table[],
  cursors: Cursors,
): ParkedWorkStore {
  function workOf({ gsi3SK }: ListedRow): ParkedWork {
    const [parkedAt = '', kind, id = '', conversationId = ''] = gsi3SK.split('#');
    return { tenantId, id, kind: kind as ParkedWorkKind, parkedAt, conversationId: conversationId || null };
  }

  return {
    async list(page) {
      const query = pageQuery(keys.parkedWork(), page, cursors.open(LIST, page));
      const found = await Promise.all(tables.map((table) => table.take<ListedRow>(query, page.size + 1)));
      const order = query.descending ? -1 : 1;
      const rows = found.flat().sort((a, b) => (a.gsi3SK < b.gsi3SK ? -order : order));
      return pageOfRows(rows.slice(0, page.size + 1), page, (row) => ({
        cursor: cursors.seal(LIST, row.gsi3SK),
        node: workOf(row),
      }));
    },
  };
}
