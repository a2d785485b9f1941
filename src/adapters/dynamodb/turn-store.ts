import type { ModelUse, Turn } from '../../conversations/model.ts';
import type { DueWorkStore, TurnRecord, TurnStore } from '../../conversations/ports.ts';
import { isoTime } from '../../kernel/clock.ts';
import { ulid } from '../../kernel/ids.ts';
import type { TenantId } from '../../tenancy/tenant-id.ts';
import { dueRows } from './due-index.ts';
import { absent, below, equals, present } from './expressions.ts';
import { dueAt, duePartitions, PARKED, parkedSince, parseDue, type Key } from './keys.ts';
import type { Item, Table } from './table.ts';
import type { TenantRows } from './conversation-store.ts';

interface TurnRow extends Item {
  readonly id: string;
  readonly key: string;
  readonly conversationId: string;
  readonly uid: string;
  readonly signIn?: string;
  readonly content?: string;
  readonly digest: string;
  readonly seq?: number;
  readonly leaseUntil: number;
  readonly cancel?: boolean;
  readonly done?: boolean;
  readonly repairs?: number;
  readonly parkedAt?: string;
  readonly reported?: readonly ModelUse[];
  readonly unmetered?: TurnRecord;
  readonly v: number;
}

/** The form of the rows this version writes; a sweeper leaves those of a newer one to newer instances. */
const VERSION = 1;

/**
 * The turn rows of one tenant. `holder` names this process: renewing, placing and finishing a turn needs its lease, so that a
 * process that was taken for dead cannot write over its successor.
 */
export function createTurnStore({ tenantId, table, keys }: TenantRows, holder: string): TurnStore {
  const turnOf = (row: TurnRow): Turn => ({
    tenantId,
    id: row.id,
    key: row.key,
    conversationId: row.conversationId,
    ownerId: row.uid,
    signInId: row.signIn ?? null,
    content: row.content ?? null,
    contentDigest: row.digest,
    sequence: row.seq ?? null,
    leaseUntil: row.leaseUntil,
    cancelRequested: row.cancel === true,
    done: row.done === true,
    repairs: row.repairs ?? 0,
    parked: row.parkedAt !== undefined,
    reported: row.reported ?? null,
  });

  return {
    async open({ id, key, conversationId, ownerId, signInId, content, contentDigest, leaseUntil }) {
      const rowKey = keys.turn(key);
      const row = {
        id,
        key,
        conversationId,
        uid: ownerId,
        ...(signInId !== null && { signIn: signInId }),
        content,
        digest: contentDigest,
        leaseUntil,
        holder,
        v: VERSION,
        ...dueAt(leaseUntil, rowKey),
      };
      let result = await table.create<TurnRow>(rowKey, row);
      if (!result.done && result.current?.done && result.current.seq === undefined) {
        const over = [equals('id', result.current.id), equals('done', true), absent('seq')];
        result = await table.replace<TurnRow>(rowKey, row, ...over);
      }
      // Opened already: the answer to that write was lost, and somebody has written to the row since.
      if (result.done || result.current?.id === id) return { opened: true };
      return { opened: false, existing: result.current && turnOf(result.current) };
    },

    async get(key) {
      const row = await table.get<TurnRow>(keys.turn(key));
      return row && turnOf(row);
    },

    async placed(turn, sequence) {
      const mine = [equals('id', turn.id), equals('holder', holder), absent('done')];
      const result = await table.update<TurnRow>(keys.turn(turn.key), { set: { seq: sequence } }, ...mine);
      return result.done ? turnOf(result.item) : null;
    },

    async renew(turn, leaseUntil) {
      const key = keys.turn(turn.key);
      const changes = { set: { leaseUntil, ...dueAt(leaseUntil, key) } };
      const result = await table.update<TurnRow>(
        key,
        changes,
        equals('id', turn.id),
        equals('holder', holder),
        absent('done'),
      );
      return result.done ? turnOf(result.item) : null;
    },

    async claim(turnKey, now, leaseUntil) {
      const key = keys.turn(turnKey);
      const changes = { set: { holder, leaseUntil, ...dueAt(leaseUntil, key) }, add: { repairs: 1 } };
      const mine = [below('leaseUntil', now), absent('done'), absent('parkedAt'), equals('v', VERSION)];
      const result = await table.update<TurnRow>(key, changes, ...mine);
      return result.done ? { ...turnOf(result.item), unmetered: result.item.unmetered ?? null } : null;
    },

    async park(turn, { sequence, unmetered }, at) {
      const key = keys.turn(turn.key);
      const place = { ...(sequence !== null && { seq: sequence }), ...(unmetered && { unmetered }) };
      const parkedAt = isoTime(at);
      const listed = keys.listedParked('TURN', turn.id, parkedAt, turn.conversationId);
      const changes = { set: { ...place, parkedAt, ...parkedSince(at, key), ...listed } };
      await table.update(key, changes, equals('id', turn.id), equals('holder', holder), absent('done'));
    },

    async unpark(turnKey, now) {
      const key = keys.turn(turnKey);
      const remove = ['parkedAt', 'repairs', 'gsi3PK', 'gsi3SK'];
      const changes = { set: { leaseUntil: now, ...dueAt(now, key) }, remove };
      return (await table.update(key, changes, present('parkedAt'))).done;
    },

    async requestCancel(key) {
      const result = await table.update<TurnRow>(
        keys.turn(key),
        { set: { cancel: true } },
        present('PK'),
        absent('done'),
      );
      return result.done ? turnOf(result.item) : null;
    },

    async report(turn, models, now) {
      const key = keys.turn(turn.key);
      const reported = { reported: models };
      const open = await table.update(key, { set: reported }, equals('id', turn.id), absent('done'));
      if (open.done) return;
      const again = { set: { ...reported, leaseUntil: now, ...dueAt(now, key) }, remove: ['done', 'ttl', 'repairs'] };
      await table.update(key, again, equals('id', turn.id), equals('done', true));
    },

    async discard(turn) {
      await table.remove(keys.turn(turn.key), equals('id', turn.id), equals('holder', holder), absent('done'));
    },

    async finish(turn, keepUntil) {
      // The content is in the messages now, and has to go when they go; what is left here only keeps the key.
      const changes = {
        set: { done: true, ttl: Math.ceil(keepUntil / 1000) },
        remove: ['content', 'unmetered', 'duePK', 'dueSK'],
      };
      const known = turn.reported === null ? absent('reported') : present('reported');
      await table.update(keys.turn(turn.key), changes, equals('id', turn.id), equals('holder', holder), known);
    },
  };
}

/** A name for this process as a holder of leases. */
export const newHolder = (nowMs: number): string => ulid(nowMs);

export function createDueWorkStore(table: Table): DueWorkStore {
  /** The turns that stand in a partition of the due index, which itself holds keys only. */
  async function turnsIn(PK: string): Promise<(TurnRow & Key)[]> {
    const keys: Key[] = [];
    for await (const row of table.rows<Item & Key>({ index: 'due', PK }))
      if (parseDue(row)?.kind === 'TURN') keys.push(row);
    return (await table.getMany<TurnRow & Key>(keys, true)).filter((row) => row !== null);
  }

  async function isOpenIn(PK: string, tenantId: TenantId): Promise<boolean> {
    for await (const row of table.rows<Item & Key>({ index: 'due', PK })) {
      const work = parseDue(row);
      if (work?.kind === 'TURN' && work.tenantId === tenantId) return true;
    }
    return false;
  }

  return {
    async hasOpenTurns(tenantId) {
      const open = await Promise.all(duePartitions().map((PK) => isOpenIn(PK, tenantId)));
      return open.includes(true);
    },

    async due(now) {
      return (await dueRows(table, now)).flatMap((row) => parseDue(row) ?? []);
    },

    async openTurns() {
      const rows = await Promise.all([...duePartitions(), PARKED].map(turnsIn));
      return new Set(rows.flat().map(({ id }) => id));
    },

    async parked() {
      const rows = await turnsIn(PARKED);
      return rows.flatMap((row) => {
        const work = parseDue(row);
        if (work?.kind !== 'TURN') return [];
        const { tenantId, turnKey } = work;
        return { tenantId, turnKey, turnId: row.id, parkedAt: row.parkedAt ?? '' };
      });
    },
  };
}
