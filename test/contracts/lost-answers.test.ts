import { describe, expect, it } from 'vitest';
import { ulid } from '../../src/kernel/ids.ts';
import { UNLIMITED, type Tenant } from '../../src/tenants/model.ts';
import { newUserId } from '../../src/tenancy/principal.ts';
import { collect } from '../support/collect.ts';
import { aConversation, anOutcome, aTurn, AT, messagesOf, METERING } from '../support/conversation-rows.ts';
import { onEveryEngine } from '../support/dynamodb-storage.ts';
import type { PassingRequest } from '../support/lossy-proxy.ts';

const LATER = '2026-11-20T13:00:00.000Z';
const puts = ({ operation }: PassingRequest) => operation === 'PutItem';
const updates = ({ operation }: PassingRequest) => operation === 'UpdateItem';

/** The client never hears that DynamoDB did what it asked for, and asks again. */
onEveryEngine('A conditional write whose answer was lost', (storage) => {
  async function open() {
    const tenantId = storage().tenant();
    const proxy = await storage().proxy();
    const conversation = aConversation(tenantId);
    const direct = storage().connect();
    const lossy = storage().connect({ proxy });
    const stores = lossy.forTenant(tenantId);
    const turn = aTurn(conversation, { leaseUntil: Date.now() + 60_000 });
    return { tenantId, proxy, conversation, turn, stores, tenants: lossy.tenants, direct: direct.forTenant(tenantId) };
  }

  async function created() {
    const all = await open();
    await all.direct.conversations.create(all.conversation);
    return all;
  }

  it('is a lock: the turn has it, and took its numbers once', async () => {
    const { proxy, conversation, turn, stores, direct } = await created();
    const lost = proxy.loseNext(updates);
    expect(await stores.conversations.lock(turn, LATER)).toEqual({
      locked: { ...conversation, updatedAt: LATER, messageCount: 2 },
      sequence: 1,
    });
    expect(lost.happened()).toBe(true);
    await direct.conversations.unlock(turn);
    expect(await direct.conversations.lock(aTurn(conversation), LATER)).toMatchObject({ sequence: 3 });
  });

  it('is a lock, and the conversation was renamed meanwhile: the turn still has it', async () => {
    const { proxy, conversation, turn, stores, direct } = await created();
    const lost = proxy.loseNext(updates, () =>
      direct.conversations.rename(conversation.id, { title: 'Meanwhile', expectedVersion: null }),
    );
    const result = await stores.conversations.lock(turn, LATER);
    expect(lost.happened()).toBe(true);
    expect(result).toMatchObject({ locked: { id: conversation.id, messageCount: 2 }, sequence: 1 });
  });

  it('is a rename: done, and not a conflict with itself', async () => {
    const { proxy, conversation, stores } = await created();
    const lost = proxy.loseNext(updates);
    expect(await stores.conversations.rename(conversation.id, { title: 'New', expectedVersion: 1 })).toEqual({
      renamed: { ...conversation, title: 'New', version: 2 },
    });
    expect(lost.happened()).toBe(true);
  });

  it('is a rename that another one followed: a conflict is not hidden, and nothing is renamed twice', async () => {
    const { proxy, conversation, stores, direct } = await created();
    proxy.loseNext(updates, () =>
      direct.conversations.rename(conversation.id, { title: 'Theirs', expectedVersion: 2 }),
    );
    await stores.conversations.rename(conversation.id, { title: 'Mine', expectedVersion: 1 });
    expect(await direct.conversations.getMany([conversation.id])).toMatchObject([{ title: 'Theirs', version: 3 }]);
  });

  it('is a deletion: it says what was there', async () => {
    const { proxy, conversation, stores } = await created();
    const lost = proxy.loseNext(updates);
    expect(await stores.conversations.markDeleting(conversation.id, 0)).toMatchObject({ deleting: true });
    expect(lost.happened()).toBe(true);
  });

  it('is an unlock: the conversation is free, and somebody else’s lock that followed stands', async () => {
    const { proxy, conversation, turn, stores, direct } = await created();
    await direct.conversations.lock(turn, LATER);
    const next = aTurn(conversation);
    const lost = proxy.loseNext(updates, () => direct.conversations.lock(next, LATER));
    await stores.conversations.unlock(turn);
    expect(lost.happened()).toBe(true);
    expect(await direct.conversations.lock(aTurn(conversation), LATER)).toMatchObject({ locked: null });
  });

  it('is a turn that was opened: it is ours, not an earlier one with its key', async () => {
    const { proxy, turn, stores } = await open();
    const lost = proxy.loseNext(puts);
    expect(await stores.turns.open(turn)).toEqual({ opened: true });
    expect(lost.happened()).toBe(true);
  });

  it('is a turn that was opened, and cancelled meanwhile by whoever deleted its conversation: it is still ours', async () => {
    const { proxy, turn, stores, direct } = await open();
    proxy.loseNext(puts, () => direct.turns.requestCancel(turn.key));
    expect(await stores.turns.open(turn)).toEqual({ opened: true });
  });

  it('is a renewal, a claim, a cancellation or a finish of a turn', async () => {
    const { proxy, turn, stores, direct } = await open();
    await stores.turns.open(turn);
    const later = turn.leaseUntil + 60_000;
    proxy.loseNext(updates);
    expect(await stores.turns.renew(turn, later)).toMatchObject({ leaseUntil: later });
    proxy.loseNext(updates);
    expect(await stores.turns.requestCancel(turn.key)).toMatchObject({ cancelRequested: true });
    const lost = proxy.loseNext(updates);
    expect(await stores.turns.claim(turn.key, later + 1, later + 60_000)).toMatchObject({ leaseUntil: later + 60_000 });
    expect(lost.happened()).toBe(true);
    proxy.loseNext(updates);
    await stores.turns.finish(turn, Date.now() + 60_000);
    expect(await direct.turns.get(turn.key)).toMatchObject({ done: true });
  });

  it('is a message: stored once; and the end of an answer: this end won', async () => {
    const { proxy, conversation, turn, stores, direct } = await open();
    const [question, answer] = messagesOf(conversation, turn);
    for (const message of [question, answer]) {
      const lost = proxy.loseNext(puts);
      await stores.messages.add(message, turn);
      expect(lost.happened()).toBe(true);
    }
    expect(await direct.messages.range(conversation.id, 1, 9)).toEqual([question, answer]);
    const lost = proxy.loseNext(updates);
    const ended = await stores.messages.end(answer.id, anOutcome('Mine'), METERING);
    expect(lost.happened()).toBe(true);
    expect(ended?.message).toMatchObject({ content: 'Mine', status: 'COMPLETED' });
  });

  describe('is one of identity and tenants', () => {
    it('a rotation: the session goes on, it was not used twice', async () => {
      const { proxy, stores, direct } = await open();
      const session = {
        userId: newUserId(0),
        sessionId: ulid(0),
        familyHash: 'family',
        secretHash: 'first',
        expiresAt: Date.now() + 60_000,
      };
      await direct.sessions.create(session);
      const lost = proxy.loseNext(updates);
      expect(await stores.sessions.rotate({ ...session, secretHash: 'second' }, 'first')).toBe('ROTATED');
      expect(lost.happened()).toBe(true);
    });

    it('a registration: it is registered, at each of its writes', async () => {
      for (const kind of [puts, updates, ({ body }: PassingRequest) => body.includes('#U#')]) {
        const { proxy, stores, direct } = await open();
        const lost = proxy.loseNext(kind);
        const account = { userId: newUserId(0), name: 'Mia', email: 'mia@acme.example', roles: [], passwordHash: 'x' };
        expect(await stores.users.register({ ...account, roles: ['MEMBER'] }, Date.now())).toBe(true);
        expect(lost.happened()).toBe(true);
        expect(await direct.users.findByEmail(account.email)).toMatchObject({ userId: account.userId });
      }
    });

    it('a new tenant: it was created', async () => {
      const { tenantId, proxy, tenants } = await open();
      const lost = proxy.loseNext(puts);
      const tenant: Tenant = {
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
      };
      expect(await tenants.create(tenant)).toBe(true);
      expect(lost.happened()).toBe(true);
    });
  });

  it('is a usage event: it counts once', async () => {
    const { proxy, stores, direct } = await open();
    const at = Date.parse(AT);
    const event = {
      kind: 'SIGN_IN',
      id: ulid(at),
      userId: 'user-1',
      identityProvider: 'PASSWORD',
      latencyMs: 3,
    } as const;
    for (const attempt of ['"H#', '#E#']) {
      const lost = proxy.loseNext(({ body }) => body.includes(attempt));
      await stores.usage.record(attempt === '"H#' ? { ...event, id: ulid(at - 3_600_000) } : event);
      expect(lost.happened()).toBe(true);
    }
    expect(await collect(direct.usage.events(at, at + 1))).toEqual([event]);
  });
});
