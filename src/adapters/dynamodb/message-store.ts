import type { Clock } from '../../kernel/clock.ts';
import { tokenUsage, type TurnMetering } from '../../conversations/metering.ts';
import { messageId, parseMessageId, type Message } from '../../conversations/model.ts';
import type { EndedMessage, MessageStore } from '../../conversations/ports.ts';
import { createContentStore, type Content, type Place, type StoredContent } from './message-content.ts';
import { equals } from './expressions.ts';
import type { Key } from './keys.ts';
import type { Item } from './table.ts';
import type { TenantRows } from './conversation-store.ts';

interface MessageRow extends Item, StoredContent, Place {
  readonly role: Message['role'];
  readonly status: Message['status'];
  readonly uid: string;
  readonly agentId: string | null;
  readonly agentName: string | null;
  readonly error: Message['error'];
  readonly metering?: TurnMetering;
  readonly createdAt: string;
  readonly completedAt: string | null;
  readonly lastEvent: number | null;
  readonly turnKey: string;
}

export function createMessageStore(rows: TenantRows, clock: Clock): MessageStore {
  const { tenantId, table, keys } = rows;
  const contents = createContentStore(rows, clock);

  const messageOf = (row: MessageRow): Message => ({
    tenantId,
    id: messageId(row.conversationId, row.sequence),
    conversationId: row.conversationId,
    sequence: row.sequence,
    role: row.role,
    status: row.status,
    content: row.content,
    ownerId: row.uid,
    agentId: row.agentId,
    agentName: row.agentName,
    citations: row.citations,
    error: row.error,
    // Usage is shown once it is known for good; a checkpoint's is only for the sweeper.
    usage: row.metering && row.status !== 'STREAMING' ? tokenUsage(row.metering) : null,
    createdAt: row.createdAt,
    completedAt: row.completedAt,
    lastEvent: row.lastEvent,
  });

  const withContent = async (found: readonly (MessageRow | null)[]) =>
    (await contents.fill(found)).map((row) => row && messageOf(row));

  function keyOf(id: string): Key | null {
    const place = parseMessageId(id);
    return place && keys.message(place.conversationId, place.sequence);
  }

  const read = async (id: string): Promise<MessageRow | null> => {
    const key = keyOf(id);
    return key && table.get<MessageRow>(key);
  };

  async function ended(row: MessageRow | null): Promise<EndedMessage | null> {
    const [message] = await withContent([row]);
    return message ? { message, metering: row?.metering ?? null } : null;
  }

  /** Writes to an answer that has not ended, and returns its row as it then is, whoever wrote it. */
  async function whileStreaming(place: Place, content: Content, changes: Item): Promise<MessageRow | null> {
    const stored = await contents.store(place, content);
    const key = keys.message(place.conversationId, place.sequence);
    const remove = stored.edition === undefined ? ['edition'] : [];
    const result = await table.update<MessageRow>(
      key,
      { set: { ...changes, ...stored }, remove },
      equals('status', 'STREAMING'),
    );
    if (!result.done) {
      await contents.discard(place, stored);
      return result.current;
    }
    await contents.removeOthers(result.item);
    return result.item;
  }

  return {
    async add(message, turn) {
      const { content, citations, ownerId, ...rest } = message;
      const { conversationId, sequence, role, status, agentId, agentName, error, createdAt, completedAt, lastEvent } =
        rest;
      const stored = await contents.store(message, { content, citations });
      const fields = {
        conversationId,
        sequence,
        role,
        status,
        agentId,
        agentName,
        error,
        createdAt,
        completedAt,
        lastEvent,
      };
      const row = { ...fields, ...stored, uid: ownerId, turnKey: turn.key, v: 1 };
      const result = await table.create(keys.message(conversationId, sequence), row);
      if (!result.done) await contents.discard(message, stored);
    },

    async getMany(ids) {
      const keyed = ids.map(keyOf);
      const wanted = keyed.filter((key) => key !== null);
      const found = await withContent(await table.getMany<MessageRow>(wanted));
      return keyed.map((key) => (key === null ? null : (found[wanted.indexOf(key)] ?? null)));
    },

    async range(conversationId, from, to) {
      const query = { ...keys.messageRange(conversationId, from, to) };
      const found = await withContent(await table.take<MessageRow>(query, to - from + 1));
      return found.filter((message) => message !== null);
    },

    turnKey: async (id) => (await read(id))?.turnKey ?? null,

    async checkpoint(id, { content, metering }) {
      const place = parseMessageId(id);
      if (place) await whileStreaming(place, { content, citations: [] }, { metering });
    },

    async end(id, outcome, metering) {
      const place = parseMessageId(id);
      if (!place) return null;
      const { status, content, citations, error, completedAt, lastEvent } = outcome;
      const changes = { status, error, completedAt, lastEvent, metering };
      return ended(await whileStreaming(place, { content, citations }, changes));
    },

    draft: async (id) => ended(await read(id)),
  };
}
