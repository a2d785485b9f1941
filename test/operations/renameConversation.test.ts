import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseTenantId } from '../../src/tenancy/tenant-id.ts';
import { actingIn, expectTenantNeeded, NO_CONVERSATION } from '../support/refusals.ts';
import { cancel, remove, startEndlessTurn } from '../support/turns.ts';
import { startWorld, type Caller, type World } from '../support/world.ts';

const RENAME = `mutation($input: RenameConversationInput!) { renameConversation(input: $input) {
  conversation { id title version updatedAt messageCount }
} }`;
const SHOW = `query($id: ID!) { conversation(id: $id) { title version updatedAt } }`;

describe('renameConversation', () => {
  let world: World;
  beforeAll(async () => {
    world = await startWorld();
  });
  afterAll(() => world.stop());

  const rename = (caller: Caller, conversationId: string, title: string, expectedVersion?: number | null) =>
    caller.run(RENAME, { input: { conversationId, title, ...(expectedVersion !== undefined && { expectedVersion }) } });
  const show = async (caller: Caller, id: string) => (await caller.run(SHOW, { id })).data.conversation;

  it('ok: the trimmed title, one version more, the same activity', async () => {
    for (const caller of [world.acme.member, world.acme.admin]) {
      const id = await caller.createConversation('Old');
      const { updatedAt } = await show(caller, id);
      const { data } = await rename(caller, id, '  New ');
      const { conversation } = data.renameConversation;
      expect(conversation).toEqual({ id, title: 'New', version: 2, updatedAt, messageCount: 0 });
      expect(await show(caller, id)).toEqual({ title: 'New', version: 2, updatedAt });
      const { data: listed } = await caller.run(`{ conversations(first: 1) { nodes { title version } } }`);
      expect(listed.conversations.nodes).toEqual([{ title: 'New', version: 2 }]);
    }
  });

  it('ok: with the version it has, and with null whatever it is', async () => {
    const { member } = world.acme;
    const id = await member.createConversation();
    expect((await rename(member, id, 'Two', 1)).data.renameConversation.conversation.version).toBe(2);
    expect((await rename(member, id, 'Three', 2)).data.renameConversation.conversation.version).toBe(3);
    expect((await rename(member, id, 'Four', null)).data.renameConversation.conversation.version).toBe(4);
  });

  it('ok: turns do not change the version, and a running one does not hinder', async () => {
    const { member } = world.acme;
    const id = await member.createConversation();
    await member.ask(id, 'What about refunds?');
    const { answerId } = await startEndlessTurn(member, id);
    expect((await rename(member, id, 'Meanwhile', 1)).data.renameConversation.conversation.version).toBe(2);
    await cancel(member, answerId);
    expect(await show(member, id)).toMatchObject({ title: 'Meanwhile', version: 2 });
  });

  it('CONFLICT carries the current version, and changes nothing', async () => {
    const { member } = world.acme;
    const id = await member.createConversation('Kept');
    await rename(member, id, 'Kept', 1);
    for (const wrong of [1, 3, 0, -1, 2_147_483_647]) {
      const { code, status, errors } = await rename(member, id, 'Lost', wrong);
      expect([code, status]).toEqual(['CONFLICT', 200]);
      expect(errors[0]?.extensions).toEqual({ code: 'CONFLICT', currentVersion: 2 });
    }
    expect(await show(member, id)).toMatchObject({ title: 'Kept', version: 2 });
  });

  it('of concurrent renames that expect the same version exactly one wins', async () => {
    const { member } = world.acme;
    const id = await member.createConversation();
    for (let version = 1; version <= 3; version++) {
      const titles = Array.from({ length: 10 }, (_, index) => `Title ${version}.${index}`);
      const answers = await Promise.all(titles.map((title) => rename(member, id, title, version)));
      const won = answers.filter(({ code }) => code === undefined);
      expect(won).toHaveLength(1);
      expect(answers.filter(({ errors }) => errors[0]?.extensions['currentVersion'] === version + 1)).toHaveLength(9);
      const { title } = won[0]?.data.renameConversation.conversation;
      expect(await show(member, id)).toMatchObject({ title, version: version + 1 });
    }
  });

  it('concurrent renames that expect nothing all count', async () => {
    const { member } = world.acme;
    const id = await member.createConversation();
    const answers = await Promise.all(Array.from({ length: 10 }, (_, index) => rename(member, id, `T${index}`)));
    const versions = answers.map(({ data }) => data.renameConversation.conversation.version as number);
    expect(versions.toSorted((a, b) => a - b)).toEqual([2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
  });

  it('BAD_USER_INPUT for a title out of bounds, and nothing is changed', async () => {
    const { member } = world.acme;
    const id = await member.createConversation('Kept');
    for (const title of ['', ' \n', 'x'.repeat(201), '😀'.repeat(201), 'a\nb', 'a\u0000', 'a\ud83d', '\u0085']) {
      const { code, errors } = await rename(member, id, title);
      expect([title.slice(0, 10), code, errors[0]?.extensions['field']]).toEqual([
        title.slice(0, 10),
        'BAD_USER_INPUT',
        'title',
      ]);
    }
    expect(await show(member, id)).toMatchObject({ title: 'Kept', version: 1 });
    expect((await rename(member, id, '😀'.repeat(200))).code).toBeUndefined();
  });

  it('NOT_FOUND for a colleague, another tenant, a deleted one and none at all', async () => {
    const { acme, globex } = world;
    const admins = await acme.admin.createConversation('Kept');
    const members = await acme.member.createConversation('Kept');
    const deleted = await acme.member.createConversation();
    await remove(acme.member, deleted);
    for (const [caller, id] of [
      [acme.member, admins],
      [globex.member, members],
      [globex.admin, members],
      [actingIn(world, 'globex'), members],
      [acme.member, deleted],
      [acme.member, NO_CONVERSATION],
      [acme.member, ''],
      [acme.member, '#'],
    ] as const) {
      for (const expectedVersion of [null, 1, 7]) {
        const { code, status } = await rename(caller, id, 'Stolen', expectedVersion);
        expect([id, code, status]).toEqual([id, 'NOT_FOUND', 200]);
      }
    }
    expect(await show(acme.admin, admins)).toMatchObject({ title: 'Kept', version: 1 });
    expect(await show(acme.member, members)).toMatchObject({ title: 'Kept', version: 1 });
    const { conversations } = world.product.dataOf(parseTenantId('acme')!);
    expect(await conversations.state(NO_CONVERSATION)).toBeNull(); // a rename makes no row
  });

  it('FORBIDDEN for an admin and an acting operator, who see it but do not own it', async () => {
    const { acme } = world;
    const id = await acme.member.createConversation('Kept');
    for (const caller of [acme.admin, actingIn(world, 'acme')]) {
      const { code, status } = await rename(caller, id, 'Taken', 7);
      expect([code, status]).toEqual(['FORBIDDEN', 403]);
    }
    expect(await show(acme.member, id)).toMatchObject({ title: 'Kept', version: 1 });
  });

  it('UNAUTHENTICATED, TENANT_REQUIRED, TENANT_INVALID and FORBIDDEN for those without a tenant', async () =>
    expectTenantNeeded(world, RENAME, {
      input: { conversationId: await world.acme.member.createConversation(), title: 'x' },
    }));
});
