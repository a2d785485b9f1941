import { createBedrockAgents } from '../../src/adapters/bedrock/answer-source.ts';
import { createAgentCall } from '../../src/adapters/bedrock/agent-runtime.ts';
import { createBedrockClient } from '../../src/adapters/bedrock/client.ts';
import { createMemoryGenerationSlots } from '../../src/adapters/memory/generation-slots.ts';
import { createMemoryStreamLogs } from '../../src/adapters/memory/stream-log.ts';
import { createMemoryTurnSignals } from '../../src/adapters/memory/turn-signals.ts';
import type { AgentDefinition } from '../../src/agents/model.ts';
import { createFairQueue } from '../../src/conversations/fair-queue.ts';
import { createGenerations } from '../../src/conversations/generation.ts';
import { createConversationLoaders } from '../../src/conversations/loaders.ts';
import type { Conversation } from '../../src/conversations/model.ts';
import { createConversationService } from '../../src/conversations/service.ts';
import { createSweeper } from '../../src/conversations/sweeper.ts';
import { createTurnService } from '../../src/conversations/turns.ts';
import type { Clock } from '../../src/kernel/clock.ts';
import { startBedrockEmulator } from '../../src/local/bedrock/emulator.ts';
import type { TenantId } from '../../src/tenancy/tenant-id.ts';
import { UNLIMITED } from '../../src/tenants/model.ts';
import { createUsageCloser } from '../../src/usage/closing.ts';
import { createPriceTable } from '../../src/usage/prices.ts';
import { createTokenQuota } from '../../src/usage/quota.ts';
import { createUsageService } from '../../src/usage/service.ts';
import { settle, type TestClock } from './clock.ts';
import type { Storage } from './dynamodb-storage.ts';
import { watchStores } from './watched-stores.ts';

/** Agents, each with a model and a knowledge base of its own. */
const NAMES = ['ONE', 'TWO', 'THREE'] as const;
export const AGENTS: readonly AgentDefinition[] = NAMES.map((name) => ({
  id: name.toLowerCase(),
  name,
  description: null,
  bedrock: { agentId: `AG${name}`, aliasIds: [`AL${name}`, `AM${name}`] },
  modelId: `model-${name}`,
  knowledgeBaseIds: [`KB${name}`],
  memory: name === 'TWO',
}));
const KNOWLEDGE_BASES = NAMES.map((name) => `KB${name}`);

const ROOMY = { runningMax: 1_000, runningPerTenantMax: 1_000, waitingMax: 100, waitingPerTenantMax: 100 };

/** Whole numbers of billionths for every token, so that sums are exact. */
const PRICES = createPriceTable({
  version: 'test',
  prices: [
    { model: 'model-ONE', from: '2026-01-01T00:00:00Z', inputPerMillion: 3, outputPerMillion: 15 },
    { model: 'model-ONE', from: '2026-11-30T12:00:00Z', inputPerMillion: 2, outputPerMillion: 10 },
    { model: 'model-TWO', from: '2026-11-30T00:00:00Z', inputPerMillion: 1, outputPerMillion: 4 },
  ],
});

/** The server's parts that make turns and count them, on real stores and the emulator over its wire; many processes at a time. */
export async function openUsageRun(storage: Storage, clock: TestClock, tenants: readonly TenantId[]) {
  const emulator = await startBedrockEmulator({
    clock,
    chunksPerSecond: Infinity,
    agents: AGENTS.map(({ name, bedrock, modelId, knowledgeBaseIds, memory }) => ({
      ...{ ...bedrock, name, model: modelId ?? '', knowledgeBaseIds, memory },
    })),
    passages: tenants.flatMap((tenantId) =>
      KNOWLEDGE_BASES.flatMap((knowledgeBaseId) =>
        ['refunds', 'anvils'].map((title) => ({
          ...{ knowledgeBaseId, tenantId, title, uri: `s3://documents/${title}.md` },
          text: `All that is to be said of ${title}.`,
        })),
      ),
    ),
  });
  const credentials = { accessKeyId: 'test', secretAccessKey: 'test' };
  const client = createBedrockClient({
    ...{ region: 'us-east-1', endpoint: emulator.url, credentials, idleTimeoutMs: 600_000 },
  });

  let open = 0;
  const connect = (own: Clock) =>
    storage.connect({ clock: own, onRequest: ({ phase }) => (open += phase === 'sent' ? 1 : -1) });
  /** Nothing is on its way to the store or back. */
  async function quiet() {
    for (let calm = 0; calm < 3; calm = open === 0 ? calm + 1 : 0) await settle(4);
  }

  /** A server process; its time ends with it. */
  function startProcess() {
    let alive = true;
    const { promise: dead, resolve: died } = Promise.withResolvers<void>();
    const own: Clock = { now: () => clock.now(), after: (ms, task) => clock.after(ms, () => alive && task()) };
    const db = connect(own);
    const logs = createMemoryStreamLogs(own);
    const faults: unknown[] = [];
    const of = new Map(
      tenants.map((tenantId) => {
        const { usage: usageStore, quota: quotaStore, cursors, ...stores } = db.forTenant(tenantId);
        const changed = () => undefined;
        const watched = watchStores({
          ...stores,
          streams: logs.forTenant(tenantId),
          meter: createUsageService({ tenantId, store: usageStore, prices: PRICES, changed }),
          quota: createTokenQuota({ store: quotaStore, limits: UNLIMITED, reserveTokens: 4_000, changed }),
        });
        return [tenantId, { watched, cursors }] as const;
      }),
    );
    const dataOf = (tenantId: TenantId) => of.get(tenantId)!;
    const generations = createGenerations({
      source: createBedrockAgents({
        ...{ clock: own, firstTextTimeoutMs: 600_000, turnTimeoutMs: 1e9, retryBaseMs: 1 },
        call: createAgentCall({ client, clock: own }),
        definitionOf: (agentId) => AGENTS.find(({ id }) => id === agentId) ?? null,
      }),
      queue: createFairQueue({
        options: { ...ROOMY, deadlineMs: 600_000, weightOf: () => 1 },
        slots: createMemoryGenerationSlots(),
        clock: own,
      }),
      signals: createMemoryTurnSignals(),
      coalesceMs: 0,
      clock: own,
      log: { turnFailed: () => undefined, turnLeft: (_turn, error) => faults.push(error) },
    });
    const sweeper = createSweeper({
      due: db.due,
      storesOf: (tenantId) => dataOf(tenantId).watched.stores,
      clock: own,
      log: { sweepFailed: (_work, error) => faults.push(error), repaired: () => undefined, parked: () => undefined },
    });

    function turnsOf(tenantId: TenantId, userId: string) {
      const { watched, cursors } = dataOf(tenantId);
      const principal = {
        userId,
        name: userId,
        email: null,
        roles: ['MEMBER'],
        tenantId,
        credential: { kind: 'SESSION', sessionId: '01ARZ3NDEKTSV4RRFFQ69G5FAV' },
        expiresAt: Infinity,
      } as const;
      const scope = { tenantId, principal };
      const { stores } = watched;
      const loaders = createConversationLoaders(stores.conversations, stores.messages, cursors);
      const agents = { choose: () => null };
      const conversations = createConversationService({ scope, stores, loaders, agents, clock: own });
      return createTurnService({
        ...{ scope, stores, conversations, generations, clock: own },
        ...{ knowledgeBaseIds: KNOWLEDGE_BASES, concurrentGenerations: null, background: () => undefined },
      });
    }

    return {
      faults,
      generations,
      /** Ends with the process, if it dies over it. */
      sweep: () => Promise.race([sweeper.sweep(), dead]),
      watched: (tenantId: TenantId) => dataOf(tenantId).watched,
      alive: () => alive,
      die() {
        alive = false;
        died();
        for (const { watched } of of.values()) watched.die();
      },
      send: (conversation: Conversation, content: string, idempotencyKey?: string) =>
        turnsOf(conversation.tenantId, conversation.ownerId).send({
          ...{ conversationId: conversation.id, content, idempotencyKey },
        }),
    };
  }

  const db = connect(clock);
  const closer = createUsageCloser({
    due: db.dueHours,
    storeOf: (tenantId) => db.forTenant(tenantId).usage,
    clock,
    log: {
      closingFailed: (_work, error) => {
        throw error;
      },
    },
  });

  return {
    db,
    closer,
    prices: PRICES,
    startProcess,
    quiet,
    served: emulator.served,
    async close() {
      await emulator.close();
      client.destroy();
    },
  };
}

export type UsageRun = Awaited<ReturnType<typeof openUsageRun>>;
export type UsageProcess = ReturnType<UsageRun['startProcess']>;
