import { InvokeAgentCommand } from '@aws-sdk/client-bedrock-agent-runtime';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createAgentMemories } from '../../src/adapters/bedrock/agent-memories.ts';
import { createBedrockClient } from '../../src/adapters/bedrock/client.ts';
import { closedFor, recordAlone } from '../../src/audit/closed-trails.ts';
import { dayOf } from '../../src/audit/model.ts';
import { verifyTrail } from '../../src/audit/verifying.ts';
import { isoTime, systemClock, type Clock } from '../../src/kernel/clock.ts';
import { ulid } from '../../src/kernel/ids.ts';
import { startBedrockEmulator } from '../../src/local/bedrock/emulator.ts';
import { demoAgents } from '../../src/local/demo-corpus.ts';
import { demoAgentDefinitions } from '../../src/local/demo-data.ts';
import { assembleRemoval } from '../../src/offboarding.ts';
import { messageId } from '../../src/conversations/model.ts';
import { PLATFORM, type TenantId } from '../../src/tenancy/tenant-id.ts';
import { UNLIMITED, type Removal } from '../../src/tenants/model.ts';
import type { AllRows } from '../../src/tenants/ports.ts';
import {
  CLOSED_AFTER_MS,
  createTenantRemoval,
  TURNS_END_WITHIN_MS,
  VERIFIED_AFTER_MS,
} from '../../src/tenants/removing.ts';
import { aFact, SIGN, startRecorder } from '../support/audit.ts';
import { collect } from '../support/collect.ts';
import { aConversation, aTurn, messagesOf } from '../support/conversation-rows.ts';
import { openEmbeddedStorage, type RawRow, type Storage } from '../support/dynamodb-storage.ts';
import { aTurn as aUsedTurn } from '../support/usage-rows.ts';

const MESSAGES = 10_000;
const EVENTS = 100_000;

let storage: Storage;
beforeAll(async () => {
  storage = await openEmbeddedStorage();
});
afterAll(() => storage.close());

let nowMs = Date.now();
const clock: Clock = { now: () => nowMs, after: (ms, task) => systemClock.after(ms, task) };
const elapse = (ms: number) => {
  nowMs += ms;
};

/** A tenant that is being removed, or is not yet. */
async function addTenant(status: 'ACTIVE' | 'DELETING' = 'ACTIVE', tenantId = storage.tenant()) {
  const at = isoTime(clock.now());
  const lists = { agentIds: [], knowledgeBaseIds: [], features: [], allowedOrigins: [] };
  const nulls = { conversationRetentionDays: null, alertPercentages: null };
  const db = storage.connect({ clock });
  const tenant = { id: tenantId, name: 'Initech', ...lists, ...nulls, limits: UNLIMITED, createdAt: at };
  await db.tenants.create({ ...tenant, status, updatedAt: at, version: 1 });
  if (status === 'DELETING') await db.removals.begin(tenantId, at);
  return tenantId;
}

/** A process of the installation. */
function aProcess(
  around: (rows: AllRows) => AllRows = (rows) => rows,
  reach: () => Promise<never> | null = () => null,
  isAlive: () => boolean = () => true,
) {
  const db = storage.connect({ clock });
  const recorded: Removal[] = [];
  const forgotten: TenantId[] = [];
  const failed: unknown[] = [];
  const { round } = createTenantRemoval({
    // Whoever was killed gives nothing back.
    store: { ...db.removals, release: async (id) => (isAlive() ? db.removals.release(id) : undefined) },
    directory: db.tenants,
    rows: around(db.allRows),
    hasOpenTurns: (id) => db.due.hasOpenTurns(id),
    async forgetElsewhere(id) {
      await reach();
      forgotten.push(id);
    },
    record: (removal) => Promise.resolve(void recorded.push(removal)),
    clock,
    log: { removed: () => {}, removalFailed: (_, error) => failed.push(error) },
  });
  return { db, round, recorded, forgotten, failed };
}

/** Some of every kind of row there is, and of one that nobody has thought of yet. */
async function fill(tenantId: TenantId) {
  const db = storage.connect({ clock });
  const { users, sessions, conversations, messages, turns, usage, quota, apiKeys, audit } = db.forTenant(tenantId);
  const conversation = aConversation(tenantId);
  const userId = conversation.ownerId;
  const account = { userId, name: 'Mia', email: 'mia@initech.example', roles: ['MEMBER'] as const, passwordHash: 'x' };
  await users.register(account, clock.now());
  await conversations.create(conversation);
  const turn = aTurn(conversation, { leaseUntil: clock.now() });
  await turns.open(turn);
  await turns.finish(turn, clock.now() + 86_400_000);
  for (const message of messagesOf(conversation, turn)) await messages.add(message, turn);
  await usage.record(aUsedTurn(clock.now()));
  await quota.reserve(turn.id, { month: '2026-11', day: '20' }, 10, UNLIMITED);
  const at = isoTime(clock.now());
  const secret = {
    prefix: 'x',
    secretHash: 'x',
    scopes: ['READ'] as const,
    operationIds: null,
    enforcement: 'ENFORCE' as const,
  };
  const times = { createdAt: at, expiresAt: null, lastUsedAt: null, revokedAt: null };
  await apiKeys.create({ tenantId, id: `key-${ulid(0)}`, name: 'K', ...secret, ...times });
  const who = { actorId: userId, ipAddress: null, userAgent: null, requestId: null, details: {} };
  const link = { writer: ulid(0), sequence: 1, previous: '', mac: 'x' };
  const act = { action: 'user.disable', resource: `user/${userId}`, result: 'SUCCESS' as const };
  await audit.append({ tenantId, id: ulid(clock.now()), at, ...who, ...act, ...link });
  await storage.putRaw({ PK: `T#${tenantId}#SOMETHING#NEW`, SK: 'x' });
  await storage.putRaw({ PK: 'SYS#SOMETHING#NEW', SK: `of ${tenantId}`, tenant: tenantId });
  return { db, sessions, conversation, usage };
}

/** All that names a tenant, wherever it stands. */
const tracesOf = async (tenantId: TenantId) =>
  (await storage.allRows()).filter((row) => JSON.stringify(row).includes(tenantId));
const spelt = (rows: readonly RawRow[]) => rows.map((row) => JSON.stringify(row)).sort();

/** What a tenant that is gone leaves. */
const MEMORIALS = ['SYS#REMOVALS', 'SYS#TENANTS'];

function* messageRows(tenantId: TenantId): Generator<RawRow> {
  const conversation = aConversation(tenantId);
  for (let n = 1; n <= MESSAGES; n++) {
    const SK = `M#${String(n).padStart(10, '0')}`;
    yield { PK: `T#${tenantId}#C#${conversation.id}`, SK, id: messageId(conversation.id, n), content: 'What is it?' };
  }
}

function* eventRows(tenantId: TenantId): Generator<RawRow> {
  for (let n = 0; n < EVENTS; n++) {
    const hour = `20261120${String(n % 24).padStart(2, '0')}`;
    yield { PK: `T#${tenantId}#E#${hour}#0`, SK: ulid(n), inputTokens: n };
  }
}

describe('removing a tenant', () => {
  it('leaves nothing of 10,000 messages, 100,000 events and whatever else there is, and touches nobody else; killed half-way, another process goes on', async () => {
    const [tenantId, neighbour] = [await addTenant('DELETING'), await addTenant()];
    const longer = await addTenant('ACTIVE', `${tenantId}0` as TenantId);
    const { usage } = await fill(tenantId);
    await fill(neighbour);
    await fill(longer);
    const isOthers = (row: RawRow) => !JSON.stringify(row).replaceAll(longer, '').includes(tenantId);
    const others = spelt((await storage.allRows()).filter(isOthers));
    await storage.load('app', messageRows(tenantId));
    await storage.load('usage', eventRows(tenantId));
    elapse(CLOSED_AFTER_MS);

    // Dies at the worst moment: rows are gone, and nothing says so.
    let pages = 0;
    const killed = aProcess(
      ({ removeSome }) => ({
        async removeSome(id, place) {
          const part = await removeSome(id, place);
          if (++pages === 3) throw new Error('killed');
          return part;
        },
      }),
      undefined,
      () => pages < 3,
    );
    await killed.round();
    expect(killed.failed).toEqual([new Error('killed')]);
    const halfWay = await killed.db.removals.get(tenantId);
    expect(halfWay).toMatchObject({ phase: 'REMOVING' });
    expect(halfWay?.place).not.toBeNull();

    let read = 0;
    const successors = [0, 1].map(() =>
      aProcess(({ removeSome }) => ({
        removeSome: (id, place) => {
          read++;
          return removeSome(id, place);
        },
      })),
    );
    const round = () => Promise.all(successors.map((each) => each.round()));
    await round();
    expect(read, 'the dead process still has it').toBe(0);
    elapse(120_001);
    await round();
    const clean = await successors[0]!.db.removals.get(tenantId);
    expect(clean).toMatchObject({ phase: 'VERIFYING', rowsFound: 0 });
    expect(clean!.rowsRemoved).toBeLessThanOrEqual(MESSAGES + EVENTS + 30);

    await usage.record(aUsedTurn(clock.now())); // by a process that stood still
    elapse(VERIFIED_AFTER_MS - 1);
    await round();
    expect(await killed.db.removals.get(tenantId)).toMatchObject({ phase: 'VERIFYING', rowsFound: 0 });
    elapse(1);
    await round();
    expect(await killed.db.removals.get(tenantId), 'found, and looked for again').toMatchObject({ phase: 'VERIFYING' });
    expect(await killed.db.tenants.get(tenantId)).toMatchObject({ status: 'DELETING' });
    elapse(VERIFIED_AFTER_MS);
    await round();

    expect(await killed.db.removals.get(tenantId)).toMatchObject({ phase: 'DONE', rowsFound: 0 });
    expect(successors.flatMap(({ recorded }) => recorded)).toHaveLength(1);
    expect(successors.flatMap(({ failed }) => failed)).toEqual([]);
    const left = (await tracesOf(tenantId)).filter((row) => !JSON.stringify(row).includes(longer));
    expect(left.map(({ PK }) => PK).sort()).toEqual(MEMORIALS);
    expect(spelt((await storage.allRows()).filter(isOthers))).toEqual(others);
    expect(await killed.db.tenants.get(tenantId)).toBeNull();
    expect(await killed.db.tenants.hasLeft(tenantId)).toBe(true);
  }, 120_000);

  it('waits until every instance knows, and until the turns that run have ended, an hour at most', async () => {
    const tenantId = await addTenant('DELETING');
    const { db, round } = aProcess();
    const conversation = aConversation(tenantId);
    const turn = aTurn(conversation, { leaseUntil: nowMs });
    const phaseAfter = async (ms: number, id = tenantId) => {
      elapse(ms);
      await round();
      return (await db.removals.get(id))?.phase;
    };

    expect(await phaseAfter(CLOSED_AFTER_MS - 1)).toBe('WAITING');
    await db.forTenant(tenantId).turns.open(turn);
    expect(await phaseAfter(1)).toBe('WAITING');
    await db.forTenant(tenantId).turns.finish(turn, nowMs + 60_000);
    expect(await phaseAfter(0)).toBe('VERIFYING');

    const stuck = await addTenant('DELETING');
    await db.forTenant(stuck).turns.open(aTurn(aConversation(stuck), { leaseUntil: nowMs }));
    expect(await phaseAfter(TURNS_END_WITHIN_MS - 1, stuck)).toBe('WAITING');
    expect(await phaseAfter(1, stuck)).toBe('VERIFYING');
  });

  it('does not go on while what the instances share cannot be reached: that goes first, and again before the proof', async () => {
    const tenantId = await addTenant('DELETING');
    let away = true;
    const { db, round, forgotten, failed } = aProcess(undefined, () =>
      away ? Promise.reject(new Error('away')) : null,
    );
    elapse(CLOSED_AFTER_MS);
    await round();
    expect(failed).toEqual([new Error('away')]);
    expect((await db.removals.get(tenantId))?.phase).toBe('REMOVING');
    away = false;
    const other = aProcess();
    await other.round(); // at once: who cannot go on gives it back
    elapse(VERIFIED_AFTER_MS);
    await round();
    expect([other.forgotten, forgotten].map((ids) => ids.filter((id) => id === tenantId))).toEqual([
      ...[[tenantId], [tenantId]],
    ]);
    expect((await db.removals.get(tenantId))?.phase).toBe('DONE');
  });

  it('takes what agents remember of its users, its keys and the operators, and nobody else’s', async () => {
    const emulator = await startBedrockEmulator({
      agents: demoAgents.map((agent) => ({ ...agent, memory: true })),
      passages: [],
      chunksPerSecond: Infinity,
    });
    const credentials = { accessKeyId: 'x', secretAccessKey: 'x' };
    const options = { region: 'us-east-1', endpoint: emulator.url, credentials, idleTimeoutMs: 10_000 };
    const client = createBedrockClient(options);
    try {
      const [tenantId, other] = [await addTenant('DELETING'), await addTenant()];
      const { db, conversation } = await fill(tenantId);
      const operator = { userId: `user-${ulid(1)}`, name: 'O', email: 'o@x.example', passwordHash: 'x' };
      await db.forTenant(PLATFORM).users.register({ ...operator, roles: ['PLATFORM_OPERATOR'] }, nowMs);
      const [key] = await db.forTenant(tenantId).apiKeys.list();
      const askers = [conversation.ownerId, key!.id, operator.userId];
      for (const asker of askers) {
        for (const tenant of [tenantId, other]) {
          const memoryId = `${tenant}:${asker}`;
          const agent = { agentId: 'AGSUPPORT1', agentAliasId: 'ALSUPPORT1', sessionId: memoryId };
          const { completion } = await client.send(new InvokeAgentCommand({ ...agent, memoryId, inputText: 'Hi' }));
          await collect(completion!);
        }
      }
      expect(emulator.memories()).toHaveLength(6);
      elapse(CLOSED_AFTER_MS);
      await assembleRemoval({
        ...{ db, sign: SIGN, clock, shared: { forget: () => Promise.resolve() } },
        memories: createAgentMemories(
          client,
          demoAgentDefinitions.map((agent) => ({ ...agent, memory: true })),
        ),
        log: { removed: () => {}, removalFailed: (_, error) => expect.fail(String(error)) },
      }).round();
      expect((await db.removals.get(tenantId))?.phase).toBe('VERIFYING');
      expect(emulator.memories()).toEqual(askers.map((asker) => `AGSUPPORT1/ALSUPPORT1/${other}:${asker}`));
    } finally {
      client.destroy();
      await emulator.close();
    }
  });

  it('is not begun for a tenant that was not closed after all', async () => {
    const tenantId = await addTenant();
    const { db, round } = aProcess();
    await db.removals.begin(tenantId, isoTime(clock.now())); // and its process died
    await round();
    expect(await db.removals.get(tenantId)).toMatchObject({ phase: 'WAITING' });
    elapse(CLOSED_AFTER_MS);
    await round();
    expect(await db.removals.get(tenantId)).toBeNull();
    expect(await db.tenants.get(tenantId)).toMatchObject({ status: 'ACTIVE' });
  });
});

describe('the trail of a tenant that is gone', () => {
  const act = { action: 'conversation.delete', resource: 'conversation/conv-1' };

  it('does not come back with what waited to be stored; other trails take everything', async () => {
    const [gone, here] = [storage.tenant(), storage.tenant()];
    const trails = closedFor((id) => Promise.resolve(id === gone), storage.connect({ clock }).audit);
    const { recorder, told } = startRecorder({ trails, clock });
    recorder.start();
    recorder.record(aFact(gone));
    recorder.record(aFact(here));
    await recorder.close();
    expect(await tracesOf(gone)).toEqual([]);
    expect(await storage.rowsOf(here)).toContainEqual(expect.objectContaining(act));
    expect(told).toEqual([]);
  });

  it('that it is gone is an entry of the platform by itself, and verifies', async () => {
    const { audit } = storage.connect({ clock });
    elapse(10 * 86_400_000); // a day of its own
    const removed = { action: 'tenant.removed', resource: 'tenant/initech', details: { rowsRemoved: 7 } };
    await recordAlone(audit, SIGN, clock)(removed);
    const day = dayOf(isoTime(nowMs));
    const { entries, faults } = await verifyTrail(audit.of(PLATFORM), SIGN, { from: day, to: day, nowMs });
    expect([entries, faults]).toEqual([1, []]);
    const [entry] = await collect(audit.of(PLATFORM).ofDay(day));
    expect(entry?.entry).toMatchObject({ ...removed, tenantId: PLATFORM, actorId: null, result: 'SUCCESS' });
  });
});
