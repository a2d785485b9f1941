import { beforeAll, describe, expect, it } from 'vitest';
import type { Conversation } from '../../src/conversations/model.ts';
import type { ConversationListFilter, ConversationStore } from '../../src/conversations/ports.ts';
import type { PageRequest } from '../../src/kernel/page.ts';
import { aConversation, aTurn } from '../support/conversation-rows.ts';
import { onEveryEngine } from '../support/dynamodb-storage.ts';

const EVERYTHING: ConversationListFilter = { ownerId: null, agentId: null };
const at = (minute: number) => new Date(Date.UTC(2026, 10, 20, 12, minute)).toISOString();
const forward = (size: number, cursor: string | null = null): PageRequest => ({ direction: 'forward', size, cursor });
const backward = (size: number, cursor: string | null = null): PageRequest => ({ direction: 'backward', size, cursor });

const listOf =
  (store: ConversationStore): ConversationStore['list'] =>
  (filter, page) =>
    store.list(filter, page);

/** Reads every page in one direction; the ids in list order. */
async function walk(
  list: ConversationStore['list'],
  filter: ConversationListFilter,
  direction: PageRequest['direction'],
  size: number,
): Promise<string[]> {
  const pages: string[][] = [];
  for (let cursor: string | null = null; ;) {
    const page = await list(filter, { direction, size, cursor });
    pages.push(page.nodes.map(({ id }) => id));
    const { hasNextPage, hasPreviousPage, startCursor, endCursor } = page.pageInfo;
    const more = direction === 'forward' ? hasNextPage : hasPreviousPage;
    if (!more) break;
    cursor = direction === 'forward' ? endCursor : startCursor;
  }
  return (direction === 'forward' ? pages : pages.reverse()).flat();
}

onEveryEngine('ConversationStore.list', (storage) => {
  const open = () => {
    const tenantId = storage().tenant();
    return { tenantId, ...storage().connect().forTenant(tenantId) };
  };

  async function create(conversations: ConversationStore, created: readonly Conversation[]) {
    await Promise.all(created.map((conversation) => conversations.create(conversation)));
    return created;
  }

  describe('of 25 conversations of two owners and two agents', () => {
    let tenant: ReturnType<typeof open>;
    let newestFirst: Conversation[];
    let ids: string[];

    beforeAll(async () => {
      tenant = open();
      const [first, second] = [aConversation(tenant.tenantId), aConversation(tenant.tenantId)];
      const created = Array.from({ length: 25 }, (_, n) =>
        aConversation(tenant.tenantId, {
          createdAt: at(n % 20), // some at the same moment
          ownerId: n % 3 === 0 ? second.ownerId : first.ownerId,
          agentId: n % 4 === 0 ? 'analyst' : 'support',
        }),
      );
      await create(tenant.conversations, created);
      const key = ({ updatedAt, id }: Conversation) => `${updatedAt}#${id}`;
      newestFirst = created.toSorted((a, b) => (key(a) < key(b) ? 1 : -1));
      ids = newestFirst.map(({ id }) => id);
    });

    it('the newest activity comes first, each one whole', async () => {
      const { nodes, pageInfo } = await tenant.conversations.list(EVERYTHING, forward(100));
      expect(nodes).toEqual(newestFirst);
      expect(pageInfo).toMatchObject({ hasNextPage: false, hasPreviousPage: false });
    });

    it.each([1, 4, 5, 24, 25, 26])('pages of %i, both ways, miss nothing and repeat nothing', async (size) => {
      const list = listOf(tenant.conversations);
      expect(await walk(list, EVERYTHING, 'forward', size)).toEqual(ids);
      expect(await walk(list, EVERYTHING, 'backward', size)).toEqual(ids);
    });

    it('a page that ends exactly at the end says that nothing follows', async () => {
      const list = listOf(tenant.conversations);
      expect((await list(EVERYTHING, forward(25))).pageInfo.hasNextPage).toBe(false);
      expect((await list(EVERYTHING, forward(24))).pageInfo.hasNextPage).toBe(true);
      expect((await list(EVERYTHING, backward(25))).pageInfo.hasPreviousPage).toBe(false);
      expect((await list(EVERYTHING, backward(24))).pageInfo.hasPreviousPage).toBe(true);
    });

    it('back from the start of page two is page one', async () => {
      const list = listOf(tenant.conversations);
      const one = await list(EVERYTHING, forward(7));
      const two = await list(EVERYTHING, forward(7, one.pageInfo.endCursor));
      const back = await list(EVERYTHING, backward(7, two.pageInfo.startCursor));
      expect(back.nodes).toEqual(one.nodes);
      expect(back.pageInfo).toMatchObject({ hasPreviousPage: false, hasNextPage: true });
    });

    it('filters by owner and agent, and by both, over all pages', async () => {
      const ownerId = newestFirst[0]!.ownerId;
      for (const filter of [
        { ownerId, agentId: null },
        { ownerId: null, agentId: 'analyst' },
        { ownerId, agentId: 'analyst' },
        { ownerId, agentId: 'support' },
      ]) {
        const expected = newestFirst
          .filter((each) => filter.ownerId === null || each.ownerId === filter.ownerId)
          .filter((each) => filter.agentId === null || each.agentId === filter.agentId)
          .map(({ id }) => id);
        for (const direction of ['forward', 'backward'] as const)
          expect(await walk(listOf(tenant.conversations), filter, direction, 2)).toEqual(expected);
      }
    });

    it('a cursor of another list, another tenant or of nobody is refused', async () => {
      const ownerId = newestFirst[0]!.ownerId;
      const { endCursor } = (await tenant.conversations.list(EVERYTHING, forward(3))).pageInfo;
      const refused = { code: 'BAD_USER_INPUT' };
      const other = { ownerId, agentId: null };
      await expect(tenant.conversations.list(other, forward(3, endCursor))).rejects.toMatchObject(refused);
      await expect(
        tenant.conversations.list({ ownerId: null, agentId: 'support' }, forward(3, endCursor)),
      ).rejects.toMatchObject(refused);
      await expect(open().conversations.list(EVERYTHING, forward(3, endCursor))).rejects.toMatchObject(refused);
      await expect(tenant.conversations.list(EVERYTHING, forward(3, 'x'))).rejects.toMatchObject(refused);
    });

    it('another tenant lists none of them, whoever it asks for', async () => {
      const { conversations } = open();
      expect((await conversations.list(EVERYTHING, forward(100))).nodes).toEqual([]);
      const filter = { ownerId: newestFirst[0]!.ownerId, agentId: null };
      expect((await conversations.list(filter, forward(100))).nodes).toEqual([]);
    });
  });

  it('a turn moves its conversation to the front of both lists; a rename does not, but shows', async () => {
    const { tenantId, conversations } = open();
    const { ownerId } = aConversation(tenantId);
    const [old, recent] = await create(
      conversations,
      [0, 1].map((n) => aConversation(tenantId, { ownerId, createdAt: at(n) })),
    );
    await conversations.rename(old!.id, { title: 'Renamed', expectedVersion: null });
    for (const filter of [EVERYTHING, { ownerId, agentId: null }]) {
      expect((await conversations.list(filter, forward(9))).nodes).toMatchObject([
        { id: recent!.id },
        { id: old!.id, title: 'Renamed', version: 2 },
      ]);
    }
    const turn = aTurn(old!);
    await conversations.lock(turn, at(30));
    await conversations.unlock(turn);
    for (const filter of [EVERYTHING, { ownerId, agentId: null }]) {
      expect((await conversations.list(filter, forward(9))).nodes).toMatchObject([
        { id: old!.id, updatedAt: at(30), messageCount: 2 },
        { id: recent!.id },
      ]);
    }
  });

  it('a cursor stays good when the conversation it stands at moves or goes', async () => {
    const { tenantId, conversations } = open();
    const [a, b, c] = await create(
      conversations,
      [3, 2, 1].map((n) => aConversation(tenantId, { createdAt: at(n) })),
    );
    const { endCursor } = (await conversations.list(EVERYTHING, forward(2))).pageInfo;
    await conversations.markDeleting(b!.id, 0);
    await conversations.purge(b!.id);
    expect((await conversations.list(EVERYTHING, forward(2, endCursor))).nodes).toEqual([c]);
    expect((await conversations.list(EVERYTHING, backward(2, endCursor))).nodes).toEqual([a]);
  });

  it('a list over one megabyte is read to its end', async () => {
    const { tenantId, conversations } = open();
    // An index row holds the title; names nobody would choose make the index pages large.
    const created = Array.from({ length: 60 }, (_, n) =>
      aConversation(tenantId, { createdAt: at(n), ownerName: 'x'.repeat(30_000) }),
    );
    await create(conversations, created);
    const { nodes } = await conversations.list(EVERYTHING, forward(100));
    expect(nodes.map(({ id }) => id)).toEqual(created.map(({ id }) => id).reverse());
    const ofAgent = await conversations.list({ ownerId: null, agentId: 'support' }, backward(50));
    expect(ofAgent.nodes).toHaveLength(50);
    expect(ofAgent.pageInfo).toMatchObject({ hasPreviousPage: true, hasNextPage: false });
  });
});
