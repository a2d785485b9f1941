import type { Clock } from '../../kernel/clock.ts';
import { tokenUsage, type TurnMetering } from '../../conversations/metering.ts';
import { messageId, parseMessageId, type Message } from '../../conversations/model.ts';
import type { EndedMessage, MessageStore } from '../../conversations/ports.ts';
import { createContentStore, type Content, type StoredContent } from './message-content.ts';
import { equals } from './expressions.ts';
import type { Key, Place } from './keys.ts';
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

/** Reads of a content that is replaced again and again meanwhile: it is written every 10 s at most. */
const CONTENT_TRIES = 5;

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

  const keyOfRow = ({ conversationId, sequence }: Place) => keys.message(conversationId, sequence);

  /** The messages of rows. One whose content was replaced while it was read is read again. */
  async function withContent(rows: readonly (MessageRow | null)[]): Promise<readonly (Message | null)[]> {
    const found = new Map<string, MessageRow>();
    let unread = rows.filter((row) => row !== null);
    for (let tries = 0; unread.length > 0; tries++) {
      if (tries === CONTENT_TRIES) throw new Error('The content of a message is missing.');
      const filled = await contents.fill(unread);
      for (const row of filled) if (row) found.set(keyOfRow(row).PK + keyOfRow(row).SK, row);
      const replaced = unread.filter((_, index) => filled[index] === null);
      unread = (await table.getMany<MessageRow>(replaced.map(keyOfRow), true)).filter((row) => row !== null);
    }
    return rows.map((row) => {
      const whole = row && found.get(keyOfRow(row).PK + keyOfRow(row).SK);
      return whole ? messageOf(whole) : null;
    });
  }

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
    const result = await table.exchange<MessageRow>(key, { ...changes, ...stored }, equals('status', 'STREAMING'));
    if (!result.done) {
      await contents.discard(place, stored);
      return result.current;
    }
    // Only the edition this write replaced: another write may have stored one and not named it yet.
    if (result.before) await contents.discard(place, result.before);
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
      let next = 0;
      return keyed.map((key) => (key === null ? null : (found[next++] ?? null)));
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
