import { expect, it } from 'vitest';
import { messageId } from '../../src/conversations/model.ts';
import { aConversation, aTurn, messagesOf } from '../support/conversation-rows.ts';
import { createMovableClock, onEveryEngine } from '../support/dynamodb-storage.ts';

/** Messages stored at the same time. */
const AT_ONCE = 32;

onEveryEngine('ConversationStore.purge', (storage) => {
  /** A conversation that is being deleted, with messages of these contents. */
  async function deleting(contents: readonly string[]) {
    const clock = createMovableClock();
    const proxy = await storage().proxy();
    const tenantId = storage().tenant();
    const db = storage().connect({ clock, proxy });
    const { conversations, messages } = db.forTenant(tenantId);
    const conversation = aConversation(tenantId);
    await conversations.create(conversation);
    const turn = aTurn(conversation);
    const [question] = messagesOf(conversation, turn);
    for (let from = 0; from < contents.length; from += AT_ONCE) {
      await Promise.all(
        contents.slice(from, from + AT_ONCE).map((content, index) => {
          const sequence = from + index + 1;
          return messages.add({ ...question, id: messageId(conversation.id, sequence), sequence, content }, turn);
        }),
      );
    }
    await conversations.markDeleting(conversation.id, clock.now());
    const due = async (now: number) =>
      (await db.due.due(now)).filter((work) => work.kind === 'DELETION' && work.conversationId === conversation.id);
    return { clock, proxy, tenantId, conversation, conversations, due };
  }

  const left = async (tenantId: Parameters<ReturnType<typeof storage>['rowsOf']>[0]) =>
    (await storage().rowsOf(tenantId)).map(({ PK, SK }) => `${PK} ${SK}`);

  it('two thousand messages and the conversation are gone, and no other conversation is touched', async () => {
    const { tenantId, conversation, conversations } = await deleting(Array.from({ length: 2_000 }, () => 'x'));
    const other = aConversation(tenantId);
    await conversations.create(other);
    await conversations.purge(conversation.id);
    expect(await left(tenantId)).toEqual([`T#${tenantId}#C#${other.id} META`]);
  });

  it('what stopped half-way is still due, and the next purge goes on from there', async () => {
    const { proxy, clock, tenantId, conversation, conversations, due } = await deleting(
      Array.from({ length: 600 }, () => 'x'),
    );
    let batches = 0;
    proxy.decide(({ operation }) => (operation === 'BatchWriteItem' && ++batches > 12 ? 'refuse' : 'pass'));
    await expect(conversations.purge(conversation.id)).rejects.toThrow();
    proxy.decide(null);

    const rows = await left(tenantId);
    expect(rows.length).toBeLessThan(601);
    expect(rows).toContain(`T#${tenantId}#C#${conversation.id} META`);
    expect(await due(clock.now() + 3_600_000)).toHaveLength(1);
    await storage().connect().forTenant(tenantId).conversations.purge(conversation.id);
    expect(await left(tenantId)).toEqual([]);
    expect(await due(clock.now() + 3_600_000)).toEqual([]);
  });

  it('while thousands are removed, no sweeper finds it due', async () => {
    const { proxy, clock, conversation, conversations, due } = await deleting(Array.from({ length: 600 }, () => 'x'));
    const looked: Promise<unknown[]>[] = [];
    let batches = 0;
    proxy.decide(({ operation }) => {
      if (operation === 'BatchWriteItem' && ++batches === 11) looked.push(due(clock.now() + 1_000));
      return 'pass';
    });
    await conversations.purge(conversation.id);
    expect(await Promise.all(looked)).toEqual([[]]);
  });

  it('large contents go with their messages', async () => {
    const { tenantId, conversation, conversations } = await deleting([
      'x'.repeat(700_000),
      'small',
      'y'.repeat(40_000),
    ]);
    await conversations.purge(conversation.id);
    expect(await left(tenantId)).toEqual([]);
  });

  it('large contents are not left behind when it stops between them and their messages', async () => {
    const { proxy, tenantId, conversation, conversations } = await deleting(
      Array.from({ length: 30 }, () => 'x'.repeat(40_000)),
    );
    // One batch fails, whichever content it holds; batches sent beside it do not.
    for (const sequence of [1, 13, 26]) {
      let failed = false;
      proxy.decide(({ operation, body }) => {
        if (failed || operation !== 'BatchWriteItem' || !body.includes(`#B#${conversation.id}#${sequence}`))
          return 'pass';
        failed = true;
        return 'refuse';
      });
      await conversations.purge(conversation.id).catch(() => undefined);
    }
    proxy.decide(null);
    await conversations.purge(conversation.id);
    expect(await left(tenantId)).toEqual([]);
  });

  it('two purges at the same time leave nothing and nothing behind', async () => {
    const { tenantId, conversation, conversations } = await deleting(Array.from({ length: 300 }, () => 'x'));
    const again = storage().connect().forTenant(tenantId).conversations;
    await Promise.all([conversations.purge(conversation.id), again.purge(conversation.id)]);
    expect(await left(tenantId)).toEqual([]);
  });
});
