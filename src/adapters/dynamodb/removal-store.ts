import type { Removal } from '../../tenants/model.ts';
import type { RemovalStore } from '../../tenants/ports.ts';
import { parseTenantId } from '../../tenancy/tenant-id.ts';
import { absent, anyOf, below, equals, present } from './expressions.ts';
import { removal as keyOf, removals } from './keys.ts';
import type { Item, Table } from './table.ts';

type RemovalRow = Item & Omit<Removal, 'tenantId'> & { readonly SK: string };

const removalOf = (row: RemovalRow): Removal | null => {
  const { phase, requestedAt, rowsRemoved, rowsRead, rowsFound, place, verifyFrom, doneAt } = row;
  const tenantId = parseTenantId(row.SK);
  return tenantId && { tenantId, phase, requestedAt, rowsRemoved, rowsRead, rowsFound, place, verifyFrom, doneAt };
};

/** `holder` names this process: of several, one works on a removal at a time. */
export function createRemovalStore(table: Table, holder: string): RemovalStore {
  return {
    async begin(tenantId, requestedAt) {
      const counts = { rowsRemoved: 0, rowsRead: 0, rowsFound: 0 };
      const rest = { phase: 'WAITING', place: null, verifyFrom: null, doneAt: null, v: 1 };
      await table.create(keyOf(tenantId), { requestedAt, ...counts, ...rest });
    },

    async get(tenantId) {
      const row = await table.get<RemovalRow>(keyOf(tenantId));
      return row && removalOf(row);
    },

    async open() {
      const found: Removal[] = [];
      for await (const row of table.rows<RemovalRow>({ ...removals(), filter: equals('doneAt', null) }))
        found.push(...[removalOf(row) ?? []].flat());
      return found;
    },

    async claim(tenantId, now, leaseUntil) {
      const free = anyOf(absent('holder'), equals('holder', holder), below('leaseUntil', now));
      const changes = { set: { holder, leaseUntil } };
      const open = equals('doneAt', null);
      const result = await table.update<RemovalRow>(keyOf(tenantId), changes, present('PK'), open, free);
      return result.done ? removalOf(result.item) : null;
    },

    async save({ tenantId, ...state }, leaseUntil) {
      const changes = { set: { ...state, leaseUntil } };
      return (await table.update(keyOf(tenantId), changes, equals('holder', holder))).done;
    },

    async release(tenantId) {
      await table.update(keyOf(tenantId), { remove: ['holder', 'leaseUntil'] }, equals('holder', holder));
    },

    cancel: (tenantId) => table.remove(keyOf(tenantId), equals('holder', holder), equals('phase', 'WAITING')),
  };
}
