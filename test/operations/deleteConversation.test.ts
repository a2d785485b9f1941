import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseTenantId } from '../../src/tenancy/tenant-id.ts';
import { createTestClock, type TestClock } from '../support/clock.ts';
import { startOwnStorage } from '../support/own-storage.ts';
import { actingIn, expectTenantNeeded, NO_CONVERSATION } from '../support/refusals.ts';
import { cancel, openReader, refusalOf, remove, servedIn, startEndlessTurn, stopInTime } from '../support/turns.ts';
import { SEND, startWorld, type Caller, type World } from '../support/world.ts';

const DELETE = `mutation($input: DeleteConversationInput!) { deleteConversation(input: $input) { deletedConversationId } }`;
const RENAME = `mutation($input: RenameConversationInput!) { renameConversation(input: $input) { conversation { id } } }`;
const acme = parseTenantId('acme')!;

describe('deleteConversation', () => {
  let storage: Awaited<ReturnType<typeof startOwnStorage>>;
  let clock: TestClock;
  let world: World;
  let member: Caller;
  beforeAll(async () => {
    storage = await startOwnStorage();
    // It stands still: nothing here may wait for a lease to run out, or for a sweeper.
    clock = createTestClock();
    world = await startWorld({ clock, config: storage.config });
    member = world.acme.member;
  });
  afterAll(async () => {
    await stopInTime(world, clock);
    await storage.close();
  });

  const data = () => world.product.dataOf(acme);
  /** Resolves once the conversation's own row is gone, which is the last one to go. */
  async function gone(id: string) {
    while (await data().conversations.state(id)) continue;
  }
  /** The keys of rows in the partitions of a conversation: its own, its messages' and those of their contents. */
  async function rowsOf(id: string): Promise<string[]> {
    const rows = await storage.rows();
    return rows.filter(({ PK }) => String(PK).includes(id)).map(({ PK, SK }) => `${String(PK)} ${String(SK)}`);
  }

  async function expectGone(id: string, messageIds: readonly string[], caller = member) {
    const [messageId = ''] = messageIds;
    const found = await caller.run(
      `query($id: ID!, $messageId: ID!) {
        conversation(id: $id) { id } node(id: $id) { id } message(id: $messageId) { id } other: node(id: $messageId) { id }
        conversations(first: 100) { nodes { id } }
      }`,
      { id, messageId },
    );
    expect(found.errors).toEqual([]);
    expect(found.data).toMatchObject({ conversation: null, node: null, message: null, other: null });
    expect(found.data.conversations.nodes.map((node: { id: string }) => node.id)).not.toContain(id);
    expect((await caller.run(RENAME, { input: { conversationId: id, title: 'x' } })).code).toBe('NOT_FOUND');
    expect((await caller.run(SEND, { input: { conversationId: id, content: 'x' } })).code).toBe('NOT_FOUND');
    expect((await remove(caller, id)).code).toBe('NOT_FOUND');
    for (const message of messageIds) {
      expect((await cancel(caller, message)).code).toBe('NOT_FOUND');
      expect(await refusalOf(caller, message)).toBe('NOT_FOUND');
    }
  }

  it('ok: gone by every path at once, and its rows soon after', async () => {
    const id = await member.createConversation();
    const sent = (await member.ask(id, 'What about refunds?')).data.sendMessage;
    expect(await rowsOf(id)).toHaveLength(3);
    expect((await remove(member, id)).data).toEqual({ deleteConversation: { deletedConversationId: id } });
    const messageIds = [sent.assistantMessage.id, sent.userMessage.id];
    await expectGone(id, messageIds);
    await gone(id);
    expect(await rowsOf(id)).toEqual([]);
    expect(await data().messages.getMany(messageIds)).toEqual([null, null]);
    await expectGone(id, messageIds);
  });

  it('ok: an empty one; and an admin and an acting operator delete a member’s', async () => {
    for (const caller of [member, world.acme.admin, actingIn(world, 'acme')]) {
      const id = await member.createConversation();
      expect((await remove(caller, id)).code).toBeUndefined();
      await expectGone(id, []);
      await gone(id);
      expect(await rowsOf(id)).toEqual([]);
    }
  });

  it('ok: nothing else is touched', async () => {
    const [kept, id] = [await member.createConversation('Kept'), await member.createConversation()];
    await member.ask(kept, 'What about refunds?');
    await member.ask(id, 'What about refunds?');
    const show = `query($id: ID!) { conversation(id: $id) { title messageCount messages { nodes { id content } } } }`;
    const before = await member.run(show, { id: kept });
    await remove(member, id);
    await gone(id);
    expect((await member.run(show, { id: kept })).data).toEqual(before.data);
  });

  it('a running turn is cancelled: the agent is hung up on, readers get one terminal event, the turn is metered', async () => {
    const id = await member.createConversation();
    const start = new Date(clock.now() - 1_000).toISOString();
    const usage = async () => {
      const query = `query($start: DateTime!, $end: DateTime!) { usageSummary(start: $start, end: $end) { conversations { turns } } }`;
      const end = new Date(clock.now() + 60_000).toISOString();
      return (await world.acme.admin.run(query, { start, end })).data.usageSummary.conversations.turns as number;
    };
    const before = await usage();
    const { answerId, text } = await startEndlessTurn(member, id);
    const readers = [await openReader(member, answerId), await openReader(member, answerId, 1)];
    await remove(member, id);
    await expectGone(id, [answerId]);
    for (const reader of readers) {
      const events = await reader.events;
      expect(events.filter(({ message }) => message)).toHaveLength(1);
      expect(events.at(-1)).toMatchObject({ __typename: 'MessageCancelled', sequence: 3, message: { content: text } });
    }
    await gone(id);
    expect(servedIn(world, id)).toMatchObject([{ outcome: 'aborted', clientHungUp: true }]);
    expect(await rowsOf(id)).toEqual([]);
    expect(await usage()).toBe(before + 1);
  });

  it('whoever waits for the answer is told that it was cancelled', async () => {
    const id = await member.createConversation();
    const waiting = member.ask(id, 'What about refunds? [[emulate stall=true after=3]]');
    while (servedIn(world, id)[0]?.chunksSent !== 3) await member.run('{ viewer { id } }');
    await remove(member, id);
    expect((await waiting).data.sendMessage.assistantMessage.status).toBe('CANCELLED');
  });

  it('a thousand messages: it answers before they are gone, others are served meanwhile, and all rows go', async () => {
    const id = await member.createConversation();
    const sent = (await member.ask(id, 'What about refunds?')).data.sendMessage;
    const { messages, conversations } = data();
    const [model] = await messages.getMany([sent.userMessage.id]);
    const turn = { key: 'turn' } as Parameters<typeof messages.add>[1];
    const numbers = Array.from({ length: 1_000 }, (_, index) => index + 3);
    while (numbers.length > 0) {
      const added = numbers.splice(0, 100).map((sequence) => messages.add({ ...model!, sequence }, turn));
      await Promise.all(added);
    }
    expect(await rowsOf(id)).toHaveLength(1_003);
    await remove(member, id);
    expect((await conversations.state(id))?.deleting).toBe(true);
    await expectGone(id, [sent.assistantMessage.id]);
    await member.ask(await member.createConversation(), 'What about refunds?');
    await gone(id);
    expect(await rowsOf(id)).toEqual([]);
  });

  describe('contents', () => {
    it('that are large are gone with their messages', async () => {
      const id = await member.createConversation();
      await member.ask(id, '😀'.repeat(32_000));
      await member.ask(id, 'What about refunds? [[emulate chunks=10000]]');
      expect((await rowsOf(id)).filter((key) => key.includes('#B#'))).not.toEqual([]);
      await remove(member, id);
      await gone(id);
      expect(await rowsOf(id)).toEqual([]);
    });

    it('that were kept of an answer while it was written are gone too, also where the answer ended shorter', async () => {
      const id = await member.createConversation();
      const { answerId } = await startEndlessTurn(member, id);
      const { metering } = (await data().messages.draft(answerId))!;
      await data().messages.checkpoint(answerId, { content: 'x'.repeat(40_000), metering: metering! });
      await cancel(member, answerId);
      await remove(member, id);
      await gone(id);
      expect(await rowsOf(id)).toEqual([]);
    });

    it('are nowhere any more, not in the rows of the turns either', async () => {
      const id = await member.createConversation();
      const input = { conversationId: id, content: 'Xyzzy-4711 is my secret', waitForCompletion: true };
      await member.run(SEND, { input: { ...input, idempotencyKey: 'k' } });
      const mentions = async () => (await storage.rows()).filter((row) => JSON.stringify(row).includes('Xyzzy-4711'));
      expect(await mentions()).not.toEqual([]);
      await remove(member, id);
      await gone(id);
      expect((await mentions()).map(({ PK }) => PK)).toEqual([]);
    });
  });

  it('of several at the same time one deletes; for the others it is gone', async () => {
    const id = await member.createConversation();
    await member.ask(id, 'What about refunds?');
    const codes = (await Promise.all(Array.from({ length: 5 }, () => remove(member, id)))).map(({ code }) => code);
    expect(codes.filter((code) => code === undefined)).toHaveLength(1);
    expect(codes.filter((code) => code === 'NOT_FOUND')).toHaveLength(4);
  });

  it('NOT_FOUND for a colleague, another tenant and none at all, and nothing is deleted', async () => {
    const { globex } = world;
    const admins = await world.acme.admin.createConversation();
    const members = await member.createConversation();
    for (const [caller, id] of [
      [member, admins],
      [globex.member, members],
      [globex.admin, members],
      [actingIn(world, 'globex'), members],
      [member, NO_CONVERSATION],
      [member, ''],
      [member, '#'],
    ] as const) {
      expect(await remove(caller, id)).toMatchObject({ code: 'NOT_FOUND', status: 200 });
    }
    for (const id of [admins, members]) expect((await data().conversations.state(id))?.deleting).toBe(false);
    expect(await data().conversations.state(NO_CONVERSATION)).toBeNull();
  });

  it('UNAUTHENTICATED, TENANT_REQUIRED, TENANT_INVALID and FORBIDDEN for those without a tenant', async () =>
    expectTenantNeeded(world, DELETE, { input: { conversationId: await member.createConversation() } }));
});
