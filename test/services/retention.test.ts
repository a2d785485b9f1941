import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createRetention, keptConversations } from '../../src/conversations/retention.ts';
import type { ConversationStores } from '../../src/conversations/ports.ts';
import { createSweeper } from '../../src/conversations/sweeper.ts';
import { isoTime } from '../../src/kernel/clock.ts';
import type { TenantId } from '../../src/tenancy/tenant-id.ts';
import { aConversation, aTurn, messagesOf } from '../support/conversation-rows.ts';
import { createMovableClock, openEmbeddedStorage, type Storage } from '../support/dynamodb-storage.ts';

const DAY = 86_400_000;
const EVERYTHING = { ownerId: null, agentId: null } as const;
const page = (size: number, direction: 'forward' | 'backward' = 'forward') => ({ direction, size, cursor: null });

let storage: Storage;
beforeAll(async () => {
  storage = await openEmbeddedStorage();
});
afterAll(() => storage.close());

async function* each<T>(values: readonly T[]) {
  for (const value of values) yield await Promise.resolve(value);
}

function open(days: number | null) {
  const clock = createMovableClock();
  const db = storage.connect({ clock });
  const tenantId = storage.tenant();
  const { conversations, messages } = db.forTenant(tenantId);
  const kept = keptConversations(conversations, days, clock);
  const expired: number[] = [];
  const failed: unknown[] = [];
  const retention = createRetention({
    tenants: () => each([storage.tenant(), tenantId]),
    daysOf: (id) => (id === tenantId ? Promise.resolve(days) : Promise.reject(new Error('cannot be read'))),
    storeOf: (id) => db.forTenant(id).conversations,
    clock,
    log: { expired: (_, count) => expired.push(count), retentionFailed: (_, error) => failed.push(error) },
  });
  const sweeper = createSweeper({
    due: {
      due: async (now) => (await db.due.due(now)).filter((work) => work.tenantId === tenantId),
    },
    storesOf: (id: TenantId) => db.forTenant(id) as unknown as ConversationStores,
    clock,
    log: { sweepFailed: (_, error) => failed.push(error), repaired: () => {}, parked: () => {} },
  });
  /** A conversation whose last activity was so long ago, with one turn, the question of which is large. */
  async function create(idleMs: number) {
    const conversation = aConversation(tenantId, { createdAt: isoTime(clock.now() - idleMs) });
    await conversations.create(conversation);
    const turn = aTurn(conversation, { content: 'a long question '.repeat(3_000) });
    for (const message of messagesOf(conversation, turn)) await messages.add(message, turn);
    return conversation;
  }
  const listed = async () => (await kept.list(EVERYTHING, page(10))).nodes.map(({ id }) => id);
  return { clock, db, tenantId, conversations, kept, retention, sweeper, expired, failed, create, listed };
}

describe('a conversation whose retention is over', () => {
  it('is absent from that moment on, in lists and by id, to the millisecond, and not before', async () => {
    const { clock, kept, create, listed } = open(30);
    const [old, young] = [await create(29 * DAY), await create(DAY)];
    const hidden = Date.parse(old.updatedAt) + 30 * DAY;
    expect(await listed()).toEqual([young.id, old.id]);
    const at = (ms: number) => keptConversations(kept, 30, { ...clock, now: () => ms });
    expect(await at(hidden - 1).getMany([old.id])).toMatchObject([{ id: old.id }]);
    expect(await at(hidden).getMany([old.id, young.id])).toMatchObject([null, { id: young.id }]);
    clock.move(2 * DAY);
    expect(await listed()).toEqual([young.id]);
    const backward = await kept.list(EVERYTHING, page(1, 'backward'));
    expect(backward).toMatchObject({ nodes: [{ id: young.id }], pageInfo: { hasPreviousPage: false } });
    expect((await kept.list({ ownerId: old.ownerId, agentId: null }, page(5))).nodes).toEqual([]);
    expect((await kept.list({ ownerId: null, agentId: 'support' }, page(5))).nodes).toMatchObject([{ id: young.id }]);
  });

  it('is kept as long as it is used: what counts is the last activity', async () => {
    const { clock, conversations, kept, create, listed, retention, expired } = open(30);
    const conversation = await create(29 * DAY);
    await conversations.lock(aTurn(conversation), isoTime(clock.now()));
    clock.move(2 * DAY);
    expect(await listed()).toEqual([conversation.id]);
    expect(await kept.getMany([conversation.id])).toMatchObject([{ id: conversation.id }]);
    await retention.pass();
    expect(expired).toEqual([]);
  });

  it('stays for ever where there is no retention', async () => {
    const { clock, create, listed, retention, expired } = open(null);
    const { id } = await create(0);
    clock.move(5_000 * DAY);
    await retention.pass();
    expect([await listed(), expired]).toEqual([[id], []]);
  });
});

describe('an hourly round', () => {
  it('removes every row of what is over and nothing else, also where one tenant cannot be read', async () => {
    const { clock, tenantId, conversations, create, retention, sweeper, expired, failed, listed } = open(1);
    const young = await create(0);
    const before = (await storage.rowsOf(tenantId)).map(({ PK, SK }) => `${PK} ${SK}`).sort();
    for (let n = 0; n < 30; n++)
      await conversations.create(aConversation(tenantId, { createdAt: isoTime(clock.now() - DAY - n) }));
    await create(3 * DAY);
    await retention.pass();
    expect(expired).toEqual([31]);
    expect(failed.map(String)).toEqual(['Error: cannot be read']);
    clock.move(1_000);
    for (let rounds = 0; rounds < 5; rounds++) await sweeper.sweep();
    expect((await storage.rowsOf(tenantId)).map(({ PK, SK }) => `${PK} ${SK}`).sort()).toEqual(before);
    expect(await listed()).toEqual([young.id]);
    await retention.pass();
    expect(expired).toEqual([31]);
  });

  it('spares a conversation that is used between being found and being marked', async () => {
    const { clock, conversations, create } = open(1);
    const conversation = await create(2 * DAY);
    const since = isoTime(clock.now() - DAY);
    expect(await conversations.idle(since, 5)).toEqual([conversation.id]);
    await conversations.lock(aTurn(conversation), isoTime(clock.now()));
    expect(await conversations.markDeleting(conversation.id, clock.now(), since)).toBeNull();
    expect(await conversations.getMany([conversation.id])).toMatchObject([{ id: conversation.id }]);
  });

  it('finds what was last used at the very moment, oldest first', async () => {
    const { clock, conversations, create } = open(1);
    const [newer, older] = [await create(DAY), await create(2 * DAY)];
    expect(await conversations.idle(newer.updatedAt, 5)).toEqual([older.id, newer.id]);
    expect(await conversations.idle(isoTime(Date.parse(newer.updatedAt) - 1), 5)).toEqual([older.id]);
    expect(clock.now()).toBeGreaterThan(0);
  });
});
