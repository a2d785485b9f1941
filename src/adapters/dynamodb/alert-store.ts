import { alertName, type UsageAlert } from '../../alerts/model.ts';
import type { AlertStore, DeliveryResult, DueAlerts } from '../../alerts/ports.ts';
import { isoTime, type Clock } from '../../kernel/clock.ts';
import type { Cursors } from '../../tenancy/cursor.ts';
import type { TenantRows } from './conversation-store.ts';
import { dueRows } from './due-index.ts';
import { below, equals, type Changes } from './expressions.ts';
import { dueRowAt, PARKED, parkedRowSince, parseDueAlert, type Key } from './keys.ts';
import { pageOfRows, pageQuery } from './pages.ts';
import type { Item, Table } from './table.ts';

/** The form of the rows this version writes; those of a newer one are left to newer instances. */
const VERSION = 1;
const LIST = 'usage alerts';
/** As long as raw usage events: far longer than anybody could reach the same percentage of the same period again. */
const KEEP_MS = 400 * 86_400_000;

interface AlertRow extends Item, Omit<UsageAlert, 'tenantId' | 'delivery'> {
  readonly state: UsageAlert['delivery']['state'];
  readonly attempts: number;
  /** PENDING: not before this moment, in milliseconds. While a try is under way, the end of its lease. */
  readonly nextAt?: number;
  readonly deliveredAt?: string;
  readonly lastError?: string;
  readonly parkedAt?: string;
}

/**
 * The alerts of one tenant. A row's key is what the alert is about, so that writing it is the check whether it is new; the number of
 * the try is what a claim is known by, so that who was overtaken changes nothing.
 */
export function createAlertStore({ tenantId, table, keys }: TenantRows, cursors: Cursors, clock: Clock): AlertStore {
  const alertOf = (row: AlertRow): UsageAlert => ({
    tenantId,
    id: row.id,
    limit: row.limit,
    percentage: row.percentage,
    period: row.period,
    limitTokens: row.limitTokens,
    usedTokens: row.usedTokens,
    at: row.at,
    delivery: {
      state: row.state,
      attempts: row.attempts,
      nextAttemptAt: row.nextAt === undefined ? null : isoTime(row.nextAt),
      deliveredAt: row.deliveredAt ?? null,
      lastError: row.lastError ?? null,
    },
  });

  function changesOf(key: Key, { id }: UsageAlert, result: DeliveryResult): Changes {
    const over = ['nextAt', 'duePK', 'dueSK'];
    switch (result.state) {
      case 'NONE':
        return { set: { state: 'NONE' }, remove: over };
      case 'DELIVERED':
        return { set: { state: 'DELIVERED', deliveredAt: isoTime(result.at) }, remove: [...over, 'lastError'] };
      case 'PENDING':
        return {
          set: { nextAt: result.nextAttemptAt, lastError: result.error, ...dueRowAt(result.nextAttemptAt, key) },
        };
      case 'PARKED': {
        const parkedAt = isoTime(result.at);
        const places = { ...parkedRowSince(result.at, key), ...keys.listedParked('USAGE_ALERT', id, parkedAt) };
        return { set: { state: 'PARKED', lastError: result.error, parkedAt, ...places }, remove: ['nextAt'] };
      }
    }
  }

  return {
    async record({ tenantId: _tenant, delivery, ...alert }) {
      const key = keys.alert(alertName(alert));
      const now = clock.now();
      const result = await table.create(key, {
        ...alert,
        state: delivery.state,
        attempts: 0,
        ttl: Math.ceil((now + KEEP_MS) / 1000),
        v: VERSION,
        ...keys.listedAlert(alert.id),
        ...(delivery.state === 'PENDING' && { nextAt: now, ...dueRowAt(now, key) }),
      });
      return result.done;
    },

    async list(page) {
      const query = pageQuery(keys.allAlerts(), page, cursors.open(LIST, page));
      const listed = await table.take<Item & Key>(query, page.size + 1);
      const rows = (await table.getMany<AlertRow>(listed)).filter((row) => row !== null);
      return pageOfRows(rows, page, (row) => ({ cursor: cursors.seal(LIST, row.id), node: alertOf(row) }));
    },

    async claim(name, now, leaseUntil) {
      const key = keys.alert(name);
      const changes = { set: { nextAt: leaseUntil, ...dueRowAt(leaseUntil, key) }, add: { attempts: 1 } };
      const free = [equals('state', 'PENDING'), below('nextAt', now), equals('v', VERSION)];
      const result = await table.update<AlertRow>(key, changes, ...free);
      return result.done ? alertOf(result.item) : null;
    },

    async close(claimed, result) {
      const key = keys.alert(alertName(claimed));
      const mine = [equals('state', 'PENDING'), equals('attempts', claimed.delivery.attempts)];
      await table.update(key, changesOf(key, claimed, result), ...mine);
    },

    async unpark(name, now) {
      const key = keys.alert(name);
      const set = { state: 'PENDING', attempts: 0, nextAt: now, ...dueRowAt(now, key) };
      return (await table.update(key, { set, remove: ['parkedAt', 'gsi3PK', 'gsi3SK'] }, equals('state', 'PARKED')))
        .done;
    },
  };
}

export const createDueAlerts = (table: Table): DueAlerts => ({
  async due(now) {
    return (await dueRows(table, now)).flatMap((row) => parseDueAlert(row) ?? []);
  },
  async parked() {
    const found: Key[] = [];
    for await (const row of table.rows<Item & Key>({ index: 'due', PK: PARKED }))
      if (parseDueAlert(row)) found.push(row);
    const rows = await table.getMany<AlertRow & Key>(found, true);
    return rows.flatMap((row) => {
      const work = row && parseDueAlert(row);
      return work ? { ...work, parkedAt: row.parkedAt ?? '' } : [];
    });
  },
});
