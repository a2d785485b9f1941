import type { Conversation } from '../../conversations/model.ts';
import type { ConversationLock, ConversationState, ConversationStore } from '../../conversations/ports.ts';
import type { Clock } from '../../kernel/clock.ts';
import type { Cursors } from '../../tenancy/cursor.ts';
import type { TenantId } from '../../tenancy/tenant-id.ts';
import { above, absent, allOf, atMost, equals, present } from './expressions.ts';
import { dueAt, type Key, type TenantKeys } from './keys.ts';
import { pageOfRows, pageQuery } from './pages.ts';
import type { Item, Query, Table } from './table.ts';

interface ConversationRow extends Item {
  readonly PK: string;
  readonly id: string;
  readonly uid: string;
  readonly uname: string;
  readonly title: string;
  readonly agentId: string;
  readonly agentName: string;
  readonly createdAt: string;
  readonly act: string;
  /** Its last activity before the turn that holds the lock, or held it last. */
  readonly actBefore?: string;
  readonly version: number;
  readonly lastSeq: number;
  readonly turn?: string;
  readonly turnKey?: string;
  readonly deleting?: boolean;
}

const LOCK = ['turn', 'turnKey'];
const LISTS = ['gsi1PK', 'gsi1SK', 'gsi2PK', 'gsi2SK'];
/** Keys read ahead while the rows of a deleted conversation are removed. */
const PURGE_ROWS = 250;
const FILTERED_ROWS = 100;

export interface TenantRows {
  readonly tenantId: TenantId;
  readonly table: Table;
  readonly keys: TenantKeys;
}

export function createConversationStore(rows: TenantRows, cursors: Cursors, clock: Clock): ConversationStore {
  const { tenantId, table, keys } = rows;

  const conversationOf = (row: ConversationRow): Conversation => ({
    tenantId,
    id: row.id,
    title: row.title,
    agentId: row.agentId,
    agentName: row.agentName,
    ownerId: row.uid,
    ownerName: row.uname,
    createdAt: row.createdAt,
    updatedAt: row.act,
    version: row.version,
    messageCount: row.lastSeq,
  });

  /** Only the turn that holds the lock takes numbers: the last two are its own. */
  const lockOf = ({ turn, turnKey, lastSeq }: ConversationRow): ConversationLock | null =>
    turn && turnKey ? { turnId: turn, turnKey, sequence: lastSeq - 1 } : null;

  const stateOf = (row: ConversationRow): ConversationState => ({
    conversation: conversationOf(row),
    lock: lockOf(row),
    deleting: row.deleting === true,
  });

  const visible = (row: ConversationRow | null) => (row && !row.deleting ? conversationOf(row) : null);

  return {
    async create(conversation) {
      const { id, title, agentId, agentName, ownerId, ownerName, createdAt, version } = conversation;
      await table.create(keys.conversation(id), {
        ...keys.listed(id, ownerId, createdAt),
        ...{
          id,
          uid: ownerId,
          uname: ownerName,
          title,
          agentId,
          agentName,
          createdAt,
          act: createdAt,
          version,
          lastSeq: 0,
          v: 1,
        },
      });
    },

    async getMany(ids) {
      const found = await table.getMany<ConversationRow>(ids.map(keys.conversation));
      return found.map(visible);
    },

    async state(id) {
      const row = await table.get<ConversationRow>(keys.conversation(id));
      return row && stateOf(row);
    },

    async list({ ownerId, agentId, activeAfter = null }, page) {
      const list = ownerId === null ? keys.allConversations() : keys.conversationsOf(ownerId);
      const name = `conversations ${ownerId ?? ''} ${agentId ?? ''}`;
      const cursor = cursors.open(name, page);
      const shown = [
        ...(agentId === null ? [] : [equals('agentId', agentId)]),
        ...(activeAfter === null ? [] : [above('act', activeAfter)]),
      ];
      const query = pageQuery(list, page, cursor);
      const found = await table.take<ConversationRow>(
        {
          ...query,
          // With a filter, DynamoDB's limit counts rows before it: read further ahead then.
          limit: agentId === null ? query.limit : FILTERED_ROWS,
          ...(shown.length > 0 && { filter: allOf(...shown) }),
        },
        page.size + 1,
      );
      return pageOfRows(found, page, (row) => ({
        cursor: cursors.seal(name, `${row.act}#${row.id}`),
        node: conversationOf(row),
      }));
    },

    async rename(id, { title, expectedVersion }) {
      const result = await table.update<ConversationRow>(
        keys.conversation(id),
        { set: { title }, add: { version: 1 } },
        present('PK'),
        absent('deleting'),
        ...(expectedVersion === null ? [] : [equals('version', expectedVersion)]),
      );
      if (result.done) return { renamed: conversationOf(result.item) };
      return { renamed: null, current: visible(result.current) };
    },

    async lock(turn, at, over) {
      const key = keys.conversation(turn.conversationId);
      // Sequence numbers are taken by the same write that locks, so that they are dense whatever happens next.
      const result = await table.update<ConversationRow>(
        key,
        {
          set: { turn: turn.id, turnKey: turn.key, act: at, ...keys.listed(turn.conversationId, turn.ownerId, at) },
          copy: { actBefore: 'act' },
          add: { lastSeq: over && !over.used ? 0 : 2 },
        },
        equals('uid', turn.ownerId),
        absent('deleting'),
        over ? equals('turn', over.turnId) : absent('turn'),
      );
      // Held already: the answer to the write that locked it was lost, and somebody has written to the row since.
      const row = result.done ? result.item : result.current;
      if (row?.turn === turn.id) return { locked: conversationOf(row), sequence: row.lastSeq - 1 };
      return { locked: null, state: row && stateOf(row) };
    },

    async unlock(turn) {
      await table.update(keys.conversation(turn.conversationId), { remove: LOCK }, equals('turn', turn.id));
    },

    async revert(turn) {
      const key = keys.conversation(turn.conversationId);
      const row = await table.get<ConversationRow>(key);
      if (!row) return;
      const act = row.actBefore ?? row.act;
      const changes = { set: { act, ...keys.listed(row.id, row.uid, act) }, add: { lastSeq: -2 }, remove: LOCK };
      // One that is being deleted stays as it is: it is in no list any more, and a lock without a turn holds nothing up.
      await table.update(key, changes, equals('turn', turn.id), absent('deleting'));
    },

    async idle(since, count) {
      // `~` comes after every character of a key: the moment itself is included.
      const rows = await table.take<ConversationRow>({ ...keys.allConversations(), before: `${since}#~` }, count);
      return rows.map((row) => row.id);
    },

    async markDeleting(id, dueMs, idleSince) {
      const key = keys.conversation(id);
      const changes = { set: { deleting: true, ...dueAt(dueMs, key) }, remove: LISTS };
      const unused = idleSince === undefined ? [] : [atMost('act', idleSince)];
      const result = await table.update<ConversationRow>(key, changes, present('PK'), absent('deleting'), ...unused);
      return result.done ? stateOf(result.item) : null;
    },

    purge: (id) => purge(rows, id, clock),
  };
}

/**
 * Large contents, whatever row refers to them, then messages, then the conversation's own row, which stays due until nothing
 * else is left.
 */
async function purge({ table, keys }: TenantRows, id: string, clock: Clock) {
  await removeAll(keys.contentsOf(id));
  await removeAll(keys.messagesOf(id));
  await table.remove(keys.conversation(id));

  async function removeAll(query: Query) {
    for (;;) {
      const rows = await table.take<Item & Key>({ ...query, keysOnly: true, limit: PURGE_ROWS }, PURGE_ROWS);
      if (rows.length === 0) return;
      await table.removeMany(rows.map(({ PK, SK }) => ({ PK, SK })));
      await extendDue();
    }
  }

  /** Thousands of rows take a while: no sweeper is to begin meanwhile. */
  async function extendDue() {
    const key = keys.conversation(id);
    await table.update(key, { set: dueAt(clock.now() + 60_000, key) }, equals('deleting', true));
  }
}
