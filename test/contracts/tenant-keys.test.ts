import { expect, it } from 'vitest';
import { tenantKeys } from '../../src/adapters/dynamodb/keys.ts';
import { ulid } from '../../src/kernel/ids.ts';
import { parseTenantId, PLATFORM } from '../../src/tenancy/tenant-id.ts';
import { UNLIMITED } from '../../src/tenants/model.ts';
import { newUserId } from '../../src/tenancy/principal.ts';
import { aConversation, anOutcome, aTurn, AT, messagesOf, METERING } from '../support/conversation-rows.ts';
import { onEveryEngine } from '../support/dynamodb-storage.ts';

const FOREIGN_IDS = ['a#b', 'acme#C#x', '#', '', ' ', 'a/b', 'a\nb', 'a\u0000b', 'ä', 'a b', '*', '${x}', "a'b"];

it('a tenant id that could reach into another partition does not exist', () => {
  for (const text of [...FOREIGN_IDS, 'Acme', 'ac', '-acme', 'acme-', '1acme', 'a'.repeat(41), 'acme\n', PLATFORM])
    expect(parseTenantId(text)).toBeNull();
  expect(parseTenantId('acme-2')).toBe('acme-2');
});

it('no key part holds anything but letters, digits, dot, underscore and hyphen', () => {
  const keys = tenantKeys(parseTenantId('acme')!);
  for (const id of FOREIGN_IDS) {
    for (const make of [
      () => keys.user(id),
      () => keys.session(id, 'x'),
      () => keys.session('x', id),
      () => keys.conversation(id),
      () => keys.message(id, 1),
      () => keys.messagesOf(id),
      () => keys.messageRange(id, 1, 2),
      () => keys.contentChunk({ conversationId: id, sequence: 1 }, 'x', 1),
      () => keys.contentChunk({ conversationId: 'x', sequence: 1 }, id, 1),
      () => keys.contentsOf(id),
      () => keys.turn(id),
      () => keys.usageEvent(id, 'x'),
      () => keys.usageEvent('2026112012', id),
      () => keys.usagePeriod('HOUR', id),
      () => keys.usagePeriods('DAY', id, '20261120'),
      () => keys.usagePart('USERS', 'HOUR', id, 1, 0),
      () => keys.usagePart(id, 'HOUR', '2026112012', 1, 0),
      () => keys.usageParts('USERS', 'DAY', '20261120', id),
      () => keys.alert(id),
      () => keys.listedAlert(id),
      () => keys.listed('conv-1', id, AT),
      () => keys.conversationsOf(id),
    ])
      expect(() => JSON.stringify(make()), `${make.toString()} of ${JSON.stringify(id)}`).toThrow();
  }
  expect(keys.email('a#b/ü@x').PK).toMatch(/^T#acme#EM#[0-9a-f]{64}$/);
});

onEveryEngine('Keys', (storage) => {
  it('every row of a tenant, and every list it stands in, begins with the tenant; only work for sweepers does not', async () => {
    const db = storage().connect();
    const tenantId = storage().tenant();
    const stores = db.forTenant(tenantId);
    const before = new Set((await storage().allRows()).map(({ PK, SK }) => `${PK} ${SK}`));
    const conversation = aConversation(tenantId);
    const turn = aTurn(conversation);
    const [question, answer] = messagesOf(conversation, turn);
    await db.tenants.create({
      id: tenantId,
      name: 'Acme',
      status: 'ACTIVE',
      agentIds: [],
      knowledgeBaseIds: [],
      limits: UNLIMITED,
      features: [],
      conversationRetentionDays: null,
      alertPercentages: null,
      allowedOrigins: [],
      version: 1,
      createdAt: AT,
      updatedAt: AT,
    });
    await stores.users.register(
      { userId: conversation.ownerId, name: 'M', email: 'm@x.example', roles: ['MEMBER'], passwordHash: 'x' },
      Date.now(),
    );
    const session = {
      userId: conversation.ownerId,
      sessionId: ulid(0),
      familyHash: 'x',
      secretHash: 'x',
      expiresAt: Date.now(),
    };
    await stores.sessions.create(session);
    await stores.conversations.create(conversation);
    await stores.turns.open(turn);
    await stores.conversations.lock(turn, AT);
    await stores.turns.placed(turn, 1);
    await stores.turns.renew(turn, Date.now());
    await stores.messages.add({ ...question, content: 'x'.repeat(400_000) }, turn);
    await stores.messages.add(answer, turn);
    await stores.messages.checkpoint(answer.id, { content: 'y'.repeat(400_000), metering: METERING });
    await stores.messages.end(answer.id, anOutcome('z'.repeat(400_000)), METERING);
    const signIn = { id: ulid(Date.parse(AT)), userId: 'u', identityProvider: 'PASSWORD', latencyMs: 1 };
    await stores.usage.record({ kind: 'SIGN_IN', ...signIn });
    await stores.webhook.set({ url: 'https://x.example/', sealedSecret: 'x', setAt: AT });
    await stores.alerts.record({
      ...{ tenantId, id: `alert-${ulid(0)}`, limit: 'TOKENS_PER_DAY', percentage: 80, period: '2026-11-20' },
      ...{ limitTokens: 1, usedTokens: 1, at: AT },
      delivery: { state: 'PENDING', attempts: 0, nextAttemptAt: AT, deliveredAt: null, lastError: null },
    });
    await stores.conversations.markDeleting(conversation.id, Date.now());

    const added = (await storage().allRows()).filter(({ PK, SK }) => !before.has(`${PK} ${SK}`));
    const mine = `T#${tenantId}#`;
    expect(added.filter(({ PK }) => !PK.startsWith(mine)).map(({ PK, SK }) => [PK, SK])).toEqual([
      ['SYS#TENANTS', tenantId],
    ]);
    expect(added.length).toBeGreaterThan(12);
    for (const row of added) {
      for (const [name, value] of Object.entries(row)) {
        if (/^gsi\dPK$/.test(name)) expect(value).toSatisfy((text: string) => text.startsWith(mine));
        if (name === 'duePK') expect(value).toMatch(/^SYS#DUE#[0-7]$/);
      }
    }
    const listed = await stores.conversations.list(
      { ownerId: null, agentId: null },
      { direction: 'forward', size: 9, cursor: null },
    );
    expect(listed.nodes).toEqual([]);
  });

  it('an id with a separator reaches nothing: it is refused or absent, in every store', async () => {
    const [victim, attacker] = [storage().tenant(), storage().tenant()];
    const db = storage().connect();
    const conversation = aConversation(victim);
    const stores = db.forTenant(victim);
    await stores.conversations.create(conversation);
    const turn = aTurn(conversation);
    await stores.turns.open(turn);
    const before = await storage().rowsOf(victim);
    const { conversations, messages, turns, users, sessions } = db.forTenant(attacker);
    const nothing = async (work: () => Promise<unknown>) => {
      const result = await work().catch(() => null);
      expect(JSON.stringify(result ?? null)).toMatch(
        /^(null|\[null\]|\[\]|false|"UNKNOWN"|\{"renamed":null,"current":null\}|\{"locked":null,"state":null\})$/,
      );
    };
    const page = { direction: 'forward', size: 9, cursor: null } as const;
    for (const id of [
      ...FOREIGN_IDS,
      `../${conversation.id}`,
      `x#T#${victim}#C#${conversation.id}`,
      `${victim}#C#${conversation.id}`,
    ]) {
      await nothing(() => conversations.getMany([id]));
      await nothing(() => conversations.state(id));
      await nothing(() => conversations.rename(id, { title: 'x', expectedVersion: null }));
      await nothing(() => conversations.markDeleting(id, 0));
      await nothing(() => conversations.lock({ ...turn, conversationId: id }, AT));
      await nothing(() => conversations.purge(id));
      await nothing(async () => (await conversations.list({ ownerId: id, agentId: null }, page)).nodes);
      await nothing(async () => (await conversations.list({ ownerId: null, agentId: id }, page)).nodes);
      await nothing(() => messages.getMany([id]));
      await nothing(() => messages.range(id, 1, 9));
      await nothing(() => messages.draft(id));
      await nothing(() => messages.end(id, anOutcome('x'), METERING));
      await nothing(() => turns.get(id));
      await nothing(() => turns.claim(id, Date.now() * 2, 0));
      await nothing(() => users.getMany([id]));
      await nothing(() => users.get(id));
      await nothing(() => users.findByEmail(id));
      await nothing(() =>
        sessions.rotate({ userId: id, sessionId: id, familyHash: 'x', secretHash: 'x', expiresAt: 0 }, 'x'),
      );
    }
    expect(await storage().rowsOf(victim)).toEqual(before);
    expect(await storage().rowsOf(attacker)).toEqual([]);
  });

  it('a row that names no known kind of work, or no tenant, is no work', async () => {
    const db = storage().connect();
    const due = { duePK: 'SYS#DUE#0', dueSK: '2020-01-01T00:00:00.000Z#x' };
    const tenantId = storage().tenant();
    for (const PK of [`T#${tenantId}#DLQ#x`, 'T#No Tenant#TURN#x', 'SYS#JOB#x', `T#${tenantId}`])
      await storage().putRaw({ PK, SK: 'S', ...due, dueSK: `${due.dueSK}${PK}` });
    expect((await db.due.due(Date.now())).filter((work) => work.tenantId === tenantId)).toEqual([]);
    await expect(db.due.due(Date.now())).resolves.toBeInstanceOf(Array);
  });

  it('users with equal ids in two tenants are two users', async () => {
    const [a, b] = [storage().tenant(), storage().tenant()];
    const db = storage().connect();
    const userId = newUserId(0);
    for (const [tenantId, name] of [
      [a, 'A'],
      [b, 'B'],
    ] as const)
      await db
        .forTenant(tenantId)
        .users.register({ userId, name, email: 'same@x.example', roles: ['MEMBER'], passwordHash: name }, Date.now());
    expect(await db.forTenant(a).users.findByEmail('same@x.example')).toMatchObject({ name: 'A', passwordHash: 'A' });
    expect(await db.forTenant(b).users.getMany([userId])).toMatchObject([{ name: 'B', tenantId: b }]);
  });
});
