import type { ParkedWork, ParkedWorkKind } from '../../parked/model.ts';
import type { ParkedWorkStore } from '../../parked/ports.ts';
import type { Cursors } from '../../tenancy/cursor.ts';
import type { TenantRows } from './conversation-store.ts';
import { pageOfRows, pageQuery } from './pages.ts';
import type { Item } from './table.ts';

const LIST = 'parked work';

interface ListedRow extends Item {
  readonly gsi1SK: string;
}

/**
 * The parked rows of one tenant, of whatever kind. While a row is parked it stands in the tenant's own index, besides that of the sweepers,
 * under a key that says what there is to say: the row itself, with the content of a message in it, is not read.
 */
export function createParkedWorkStore({ tenantId, table, keys }: TenantRows, cursors: Cursors): ParkedWorkStore {
  function workOf({ gsi1SK }: ListedRow): ParkedWork {
    const [parkedAt = '', kind, id = '', conversationId = null] = gsi1SK.split('#');
    return { tenantId, id, kind: kind as ParkedWorkKind, parkedAt, conversationId };
  }

  return {
    async list(page) {
      const query = pageQuery(keys.parkedWork(), page, cursors.open(LIST, page));
      const found = await table.take<ListedRow>(query, page.size + 1);
      return pageOfRows(found, page, (row) => ({ cursor: cursors.seal(LIST, row.gsi1SK), node: workOf(row) }));
    },
  };
}
