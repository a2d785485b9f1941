import { expect, it } from 'vitest';
import { aConversation, aTurn, AT } from '../support/conversation-rows.ts';
import { onEveryEngine, type Storage } from '../support/dynamodb-storage.ts';
import type { Conversation } from '../../src/conversations/model.ts';

const LATER = '2026-11-20T13:00:00.000Z';

onEveryEngine('ConversationStore', (storage) => {
  const open = (of: Storage = storage()) => {
    const tenantId = of.tenant();
    const { conversations } = of.connect().forTenant(tenantId);
    return { tenantId, conversations };
  };

  async function withConversation(more: Partial<Conversation> = {}) {
    const { tenantId, conversations } = open();
    const conversation = aConversation(tenantId, more);
    await conversations.create(conversation);
    return { tenantId, conversations, conversation };
  }

  it('what was created is read back as it was', async () => {
    const { conversations, conversation } = await withConversation({ title: 'Ein Gespräch 🚀' });
    expect(await conversations.getMany([conversation.id])).toEqual([conversation]);
    expect(await conversations.state(conversation.id)).toEqual({ conversation, lock: null, deleting: false });
  });

  it('creating it again changes nothing', async () => {
    const { conversations, conversation } = await withConversation();
    await conversations.create({ ...conversation, title: 'Another' });
    expect(await conversations.getMany([conversation.id])).toEqual([conversation]);
  });

  it('many are read in the order asked for, with duplicates, and null for those that are not there', async () => {
    const { conversations, conversation } = await withConversation();
    const other = aConversation(conversation.tenantId);
    const missing = aConversation(conversation.tenantId);
    await conversations.create(other);
    const found = await conversations.getMany([other.id, missing.id, conversation.id, other.id]);
    expect(found).toEqual([other, null, conversation, other]);
    expect(await conversations.getMany([])).toEqual([]);
  });

  it('more than 100 are read at once, in order', async () => {
    const { tenantId, conversations } = open();
    const created = Array.from({ length: 130 }, () => aConversation(tenantId));
    await Promise.all(created.map((conversation) => conversations.create(conversation)));
    const ids = created.map(({ id }) => id);
    expect(await conversations.getMany([...ids, ids[0]!])).toEqual([...created, created[0]]);
  });

  it("another tenant's conversation is absent for every method", async () => {
    const { conversation } = await withConversation();
    const { conversations: foreign } = open();
    expect(await foreign.getMany([conversation.id])).toEqual([null]);
    expect(await foreign.state(conversation.id)).toBeNull();
    expect(await foreign.rename(conversation.id, { title: 'Mine', expectedVersion: null })).toEqual({
      renamed: null,
      current: null,
    });
    expect(await foreign.lock(aTurn(conversation), LATER)).toEqual({ locked: null, state: null });
    expect(await foreign.markDeleting(conversation.id, 0)).toBeNull();
    await foreign.unlock(aTurn(conversation));
    await foreign.purge(conversation.id);
    expect(await storage().connect().forTenant(conversation.tenantId).conversations.getMany([conversation.id])).toEqual(
      [conversation],
    );
  });

  it('a change to an absent conversation creates nothing', async () => {
    const { tenantId, conversations } = open();
    const absent = aConversation(tenantId);
    await conversations.rename(absent.id, { title: 'x', expectedVersion: null });
    await conversations.lock(aTurn(absent), LATER);
    await conversations.unlock(aTurn(absent));
    await conversations.markDeleting(absent.id, 0);
    await conversations.purge(absent.id);
    expect(await storage().rowsOf(tenantId)).toEqual([]);
  });

  it('a rename with the right version raises the version by one, and with the wrong one shows what is there', async () => {
    const { conversations, conversation } = await withConversation();
    const renamed = { ...conversation, title: 'New', version: 2 };
    expect(await conversations.rename(conversation.id, { title: 'New', expectedVersion: 1 })).toEqual({ renamed });
    expect(await conversations.rename(conversation.id, { title: 'Newer', expectedVersion: 1 })).toEqual({
      renamed: null,
      current: renamed,
    });
    expect(await conversations.rename(conversation.id, { title: 'Newest', expectedVersion: null })).toEqual({
      renamed: { ...renamed, title: 'Newest', version: 3 },
    });
  });

  it('of 20 renames that expect the same version one wins', async () => {
    const { conversations, conversation } = await withConversation();
    const results = await Promise.all(
      Array.from({ length: 20 }, (_, n) =>
        conversations.rename(conversation.id, { title: `Title ${n}`, expectedVersion: 1 }),
      ),
    );
    const won = results.filter(({ renamed }) => renamed !== null);
    expect(won).toHaveLength(1);
    expect((await conversations.getMany([conversation.id]))[0]).toEqual(won[0]?.renamed);
  });

  it('a lock takes two numbers, moves the activity, and leaves version and the rest alone', async () => {
    const { conversations, conversation } = await withConversation();
    const turn = aTurn(conversation);
    expect(await conversations.lock(turn, LATER)).toEqual({
      locked: { ...conversation, updatedAt: LATER, messageCount: 2 },
      sequence: 1,
    });
    const state = await conversations.state(conversation.id);
    expect(state?.lock).toEqual({ turnId: turn.id, turnKey: turn.key, sequence: 1 });
    await conversations.unlock(turn);
    expect(await conversations.lock(aTurn(conversation), LATER)).toMatchObject({ sequence: 3 });
    expect((await conversations.state(conversation.id))?.lock?.sequence).toBe(3);
  });

  it('a lock that is refused shows who holds it', async () => {
    const { conversations, conversation } = await withConversation();
    const turn = aTurn(conversation);
    await conversations.lock(turn, LATER);
    expect(await conversations.lock(aTurn(conversation), LATER)).toMatchObject({
      locked: null,
      state: { lock: { turnId: turn.id, turnKey: turn.key, sequence: 1 }, conversation: { messageCount: 2 } },
    });
  });

  it('only the owner gets the lock', async () => {
    const { tenantId, conversations, conversation } = await withConversation();
    const stranger = aTurn({ ...conversation, ownerId: aConversation(tenantId).ownerId });
    expect(await conversations.lock(stranger, LATER)).toMatchObject({ locked: null, state: { lock: null } });
    expect((await conversations.getMany([conversation.id]))[0]?.messageCount).toBe(0);
  });

  it('of 50 racing locks one wins, round after round, and the numbers are dense', async () => {
    const { conversations, conversation } = await withConversation();
    for (let round = 0; round < 4; round++) {
      const turns = Array.from({ length: 50 }, () => aTurn(conversation));
      const results = await Promise.all(turns.map((turn) => conversations.lock(turn, LATER)));
      const winners = turns.filter((_, index) => results[index]?.locked);
      expect(winners).toHaveLength(1);
      expect(results.find(({ locked }) => locked)).toMatchObject({ sequence: round * 2 + 1 });
      await conversations.unlock(winners[0]!);
    }
    expect((await conversations.getMany([conversation.id]))[0]?.messageCount).toBe(8);
  });

  it('a lock is given back only by the turn that holds it', async () => {
    const { conversations, conversation } = await withConversation();
    const turn = aTurn(conversation);
    await conversations.lock(turn, LATER);
    await conversations.unlock(aTurn(conversation));
    expect((await conversations.state(conversation.id))?.lock?.turnId).toBe(turn.id);
    await conversations.unlock(turn);
    await conversations.unlock(turn);
    expect((await conversations.state(conversation.id))?.lock).toBeNull();
  });

  it('a lock left behind is taken over from its holder only, and by one of many', async () => {
    const { conversations, conversation } = await withConversation();
    const dead = aTurn(conversation);
    await conversations.lock(dead, LATER);
    const lock = (await conversations.state(conversation.id))!.lock!;
    const results = await Promise.all(
      Array.from({ length: 20 }, () => conversations.lock(aTurn(conversation), LATER, { ...lock, used: true })),
    );
    expect(results.filter(({ locked }) => locked)).toMatchObject([{ sequence: 3 }]);
    await conversations.unlock(dead);
    expect((await conversations.state(conversation.id))?.lock?.sequence).toBe(3);
  });

  it('of a lock left behind the numbers are taken over too, where no message was stored at them', async () => {
    const { conversations, conversation } = await withConversation();
    await conversations.lock(aTurn(conversation), LATER);
    const lock = (await conversations.state(conversation.id))!.lock!;
    const taken = await conversations.lock(aTurn(conversation), LATER, { ...lock, used: false });
    expect(taken).toMatchObject({ sequence: 1, locked: { messageCount: 2 } });
  });

  it('one that is being deleted is absent but for its state, and takes no change', async () => {
    const { conversations, conversation } = await withConversation();
    const turn = aTurn(conversation);
    await conversations.lock(turn, LATER);
    const deleted = await conversations.markDeleting(conversation.id, Date.parse(LATER));
    expect(deleted).toMatchObject({ deleting: true, lock: { turnId: turn.id } });
    expect(await conversations.getMany([conversation.id])).toEqual([null]);
    expect(await conversations.state(conversation.id)).toMatchObject({ deleting: true, lock: { turnId: turn.id } });
    expect(await conversations.rename(conversation.id, { title: 'x', expectedVersion: null })).toEqual({
      renamed: null,
      current: null,
    });
    await conversations.unlock(turn);
    expect(await conversations.lock(aTurn(conversation), LATER)).toMatchObject({ locked: null });
    const page = { direction: 'forward', size: 100, cursor: null } as const;
    for (const ownerId of [null, conversation.ownerId])
      expect((await conversations.list({ ownerId, agentId: null }, page)).nodes).toEqual([]);
  });

  it('of racing deletions one wins', async () => {
    const { conversations, conversation } = await withConversation();
    const results = await Promise.all(
      Array.from({ length: 10 }, () => conversations.markDeleting(conversation.id, Date.parse(AT))),
    );
    expect(results.filter((state) => state !== null)).toHaveLength(1);
  });
});
