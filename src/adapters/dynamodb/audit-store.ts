import { dayOf, type ChainedEntry } from '../../audit/model.ts';
import type { AuditStore, AuditTrails, Position, SealedDay, SealStore } from '../../audit/ports.ts';
import type { TenantId } from '../../tenancy/tenant-id.ts';
import type { TenantRows } from './conversation-store.ts';
import { auditTrail, auditTrails, tenantKeys, trailOwner } from './keys.ts';
import type { Item, Query, Table } from './table.ts';

/** Days of which this process remembers to have written the heads; more, and it begins anew. */
const HEADS_KEPT_MAX = 10_000;

type EntryRow = Item & ChainedEntry & { readonly PK: string; readonly SK: string };

const positionOf = ({ at, id }: ChainedEntry): Position => `${at}#${id}`;

/** Before and after every day. */
const [FIRST, LAST] = ['00000000', '99999999'];

function sealOf(row: Item | null): SealedDay | null {
  if (row === null) return null;
  const { tenantId, day, chains, previous, mac } = row as unknown as SealedDay;
  return { tenantId, day, chains, previous, mac };
}

/** An entry without what only the table is concerned with. */
function entryOf(row: EntryRow): ChainedEntry {
  const { PK: _pk, SK: _sk, gsi1PK: _g1, gsi1SK: _s1, gsi2PK: _g2, gsi2SK: _s2, w: _w, v: _v, ...entry } = row;
  return entry;
}

/**
 * The trail of one tenant, in one partition a day. The head of a day says that it has entries, so that a long period is not read
 * day by day; it is written before the entry, because an entry without it would never be found.
 */
export function createAuditStore({ tenantId, table, keys }: TenantRows, heads: Set<string>): AuditStore & SealStore {
  async function mark(day: string) {
    const head = keys.auditDay(day);
    const name = `${head.PK} ${day}`;
    if (heads.has(name)) return;
    await table.create(auditTrail(tenantId), { v: 1 });
    await table.create(head, { v: 1 });
    if (heads.size >= HEADS_KEPT_MAX) heads.clear();
    heads.add(name);
  }

  async function firstOf(query: Query): Promise<(Item & { readonly SK: string }) | null> {
    return (await table.take<Item & { readonly SK: string }>(query, 1))[0] ?? null;
  }

  return {
    tenantId,
    firstDay: async () => (await firstOf(keys.auditDays(FIRST, LAST)))?.SK ?? null,
    lastSeal: async () => sealOf(await firstOf({ ...keys.auditSeals(FIRST, LAST), descending: true })),
    seal: async (day) => (await table.create(keys.auditSeal(day.day), { ...day, v: 1 })).done,

    async *seals(from, to) {
      for await (const row of table.rows(keys.auditSeals(from, to))) {
        const seal = sealOf(row);
        if (seal) yield seal;
      }
    },

    async *ofDay(day) {
      for await (const row of table.rows<EntryRow>(keys.auditOfDay(day)))
        yield { position: row.SK, entry: entryOf(row) };
    },

    async append(entry) {
      const day = dayOf(entry.at);
      await mark(day);
      const position = positionOf(entry);
      const indexes = keys.auditIndexes(entry.actorId, entry.resource, position);
      await table.create(keys.auditEntry(day, position), { ...entry, ...indexes, v: 1 });
    },

    async days(from, to) {
      const days: string[] = [];
      const query = { ...keys.auditDays(from, to), descending: true, keysOnly: true };
      for await (const { SK } of table.rows<EntryRow>(query)) days.push(SK);
      return days;
    },

    async slice(source, { from, before }, size) {
      // `before` itself may be found, and is left out.
      const span = { between: [from, before], descending: true, limit: size + 1 } as const;
      if ('day' in source) {
        const { rows, next } = await table.page<EntryRow>({ ...keys.auditOfDay(source.day), ...span });
        const { kept, stopped } = cut(rows, before, size, next !== null);
        return { entries: kept.map(entryOf), next: stopped };
      }
      const index = 'actorId' in source ? keys.auditOfActor(source.actorId) : keys.auditOfResource(source.resource);
      const { rows, next } = await table.page<EntryRow>({ ...index, ...span, keysOnly: true });
      const { kept, stopped } = cut(rows, before, size, next !== null);
      const found = await table.getMany<EntryRow>(kept, true);
      return { entries: found.flatMap((row) => (row === null ? [] : entryOf(row))), next: stopped };
    },
  };

  /** The rows that fit, and behind which of them to go on; null at the end. */
  function cut(found: readonly EntryRow[], before: Position, size: number, more: boolean) {
    const rows = found.filter(({ SK }) => SK !== before);
    const kept = rows.slice(0, size);
    return { kept, stopped: more || kept.length < rows.length ? (kept.at(-1)?.SK ?? null) : null };
  }
}

/** The trails of an installation. */
export function createAuditTrails(table: Table): AuditTrails {
  const heads = new Set<string>();
  return {
    of: (tenantId: TenantId) => createAuditStore({ tenantId, table, keys: tenantKeys(tenantId) }, heads),
    async *all() {
      for await (const { SK } of table.rows<Item & { SK: string }>({ ...auditTrails(), keysOnly: true })) {
        const tenantId = trailOwner(SK);
        if (tenantId !== null) yield tenantId;
      }
    },
  };
}
