import { createMemoryStreamLogs } from '../../src/adapters/memory/stream-log.ts';
import { createMemoryGenerationSlots } from '../../src/adapters/memory/generation-slots.ts';
import { createMemoryTurnSignals } from '../../src/adapters/memory/turn-signals.ts';
import { createFairQueue, type FairQueueOptions } from '../../src/conversations/fair-queue.ts';
import { createGenerations } from '../../src/conversations/generation.ts';
import { createConversationLoaders } from '../../src/conversations/loaders.ts';
import {
  messageId,
  type Conversation,
  type Message,
  type StreamEvent,
  type Turn,
} from '../../src/conversations/model.ts';
import type {
  AnswerPart,
  AnswerSource,
  DueWork,
  Question,
  StreamLog,
  TurnSignals,
} from '../../src/conversations/ports.ts';
import { createConversationService } from '../../src/conversations/service.ts';
import { createSweeper } from '../../src/conversations/sweeper.ts';
import { createTurnService } from '../../src/conversations/turns.ts';
import type { Clock } from '../../src/kernel/clock.ts';
import { createEventQueue } from '../../src/kernel/event-queue.ts';
import type { TenantId } from '../../src/tenancy/tenant-id.ts';
import type { UsageEvent } from '../../src/usage/model.ts';
import { UNLIMITED } from '../../src/tenants/model.ts';
import { createTokenQuota } from '../../src/usage/quota.ts';
import { NO_PRICES } from '../../src/usage/prices.ts';
import { createUsageService } from '../../src/usage/service.ts';
import { createTestClock, type TestClock } from './clock.ts';
import { collect } from './collect.ts';
import { aConversation } from './conversation-rows.ts';
import type { Storage } from './dynamodb-storage.ts';
import type { GateMember } from './store-gate.ts';
import { watchStores } from './watched-stores.ts';

/** An answer that a test gives part by part. */
export interface Answering {
  readonly question: Question;
  readonly signal: AbortSignal;
  /** How many parts were taken from it, the beginning included. */
  taken: () => number;
  say: (text: string) => void;
  give: (part: AnswerPart) => void;
  end: () => void;
  fail: (error: unknown) => void;
}

/** An agent that waits to be told what to say; like the real one it throws when it is stopped. */
export function createScriptedSource() {
  const begun: Answering[] = [];
  const waiting: ((answering: Answering) => void)[] = [];
  const asked: string[] = [];
  const source: AnswerSource = {
    answer(question, signal) {
      const parts = createEventQueue<AnswerPart>({ onEnd: () => undefined });
      signal.addEventListener('abort', () => parts.fail(new Error('aborted')));
      asked.push(question.conversationId);
      parts.push({ type: 'attempt', aliasId: 'ALIAS' });
      const answering: Answering = {
        question,
        signal,
        taken: () => taken,
        say: (text) => parts.push({ type: 'text', text }),
        give: (part) => parts.push(part),
        end: () => parts.end(),
        fail: parts.fail,
      };
      begun.push(answering);
      waiting.shift()?.(answering);
      let taken = 0;
      return {
        async *[Symbol.asyncIterator]() {
          for await (const part of parts) {
            taken++;
            yield part;
          }
        },
      };
    },
  };
  return {
    source,
    /** The conversations it was asked in so far. */
    asked: (): readonly string[] => asked,
    /** The next answer that is asked for, or the last one that nobody has taken up. */
    next: (): Promise<Answering> => {
      const first = begun.shift();
      return first
        ? Promise.resolve(first)
        : new Promise((resolve) => {
            waiting.push((answering) => {
              begun.splice(begun.indexOf(answering), 1);
              resolve(answering);
            });
          });
    },
  };
}

/** A queue that nobody waits in. */
const ROOMY: FairQueueOptions = {
  runningMax: 100,
  runningPerTenantMax: 100,
  waitingMax: 100,
  waitingPerTenantMax: 100,
  deadlineMs: 120_000,
  weightOf: () => 1,
};

export interface ProcessOptions extends Partial<FairQueueOptions> {
  readonly coalesceMs?: number;
  readonly concurrentGenerations?: number | null;
  readonly signals?: TurnSignals;
  /** Streams that it shares with other processes; left out, it has its own. */
  readonly streams?: StreamLog;
  /** Lets its calls to the stores through one by one; the process ends with it. */
  readonly gate?: GateMember;
}

/** The time of a process: it ends when the process does. */
const timeOf = (clock: TestClock, gate: GateMember): Clock => ({
  now: () => clock.now(),
  after: (ms, task) => clock.after(ms, () => gate.alive() && task()),
});

/** One tenant with one conversation on real stores and a test clock, and processes that serve it. */
export async function openBench(storage: Storage) {
  const benchClock = createTestClock(Date.parse('2026-11-20T12:00:00.000Z'));
  const tenantId: TenantId = storage.tenant();
  const conversation: Conversation = aConversation(tenantId);
  const directDb = storage.connect({ clock: benchClock });
  const direct = directDb.forTenant(tenantId);
  await direct.conversations.create(conversation);

  /** Keys of turns, in the order in which they began. */
  const opened: string[] = [];
  const startOf = (work: DueWork) => opened.lastIndexOf(work.kind === 'TURN' ? work.turnKey : '');

  /** A server process: stores, streams and leases of its own. */
  function process(options: ProcessOptions = {}) {
    const {
      coalesceMs = 0,
      concurrentGenerations = null,
      signals = createMemoryTurnSignals(),
      gate,
      ...rest
    } = options;
    const clock = gate ? timeOf(benchClock, gate) : benchClock;
    const { streams = createMemoryStreamLogs(clock).forTenant(tenantId), ...queueOptions } = rest;
    const guarded = <S extends object>(name: string, store: S): S => gate?.guard(name, store) ?? store;
    const db = storage.connect({ clock });
    const { usage: usageStore, quota: quotaStore, cursors, ...own } = db.forTenant(tenantId);
    const usage = createUsageService({
      tenantId,
      store: usageStore,
      prices: NO_PRICES,
      changed: () => undefined,
    });
    const watched = watchStores({
      conversations: guarded('conversations', own.conversations),
      messages: guarded('messages', own.messages),
      turns: guarded('turns', {
        ...own.turns,
        open: (turn: Turn) => {
          opened.push(turn.key);
          return own.turns.open(turn);
        },
      }),
      streams: guarded('streams', streams),
      meter: guarded('meter', usage),
      // Settling is several calls of the store.
      quota: createTokenQuota({
        store: guarded('quota', quotaStore),
        limits: UNLIMITED,
        reserveTokens: 4_000,
        changed: () => undefined,
      }),
    });
    const due = guarded('due', db.due);
    const { stores } = watched;
    const script = createScriptedSource();
    const faults: unknown[] = [];
    const background: Promise<void>[] = [];
    const queue = createFairQueue({
      options: { ...ROOMY, ...queueOptions },
      slots: createMemoryGenerationSlots(),
      clock,
    });
    const generations = createGenerations({
      source: script.source,
      queue,
      signals,
      coalesceMs,
      clock,
      log: { turnFailed: (_turn, error) => faults.push(error), turnLeft: (_turn, error) => faults.push(error) },
    });
    const sweepFaults: unknown[] = [];
    const sweeper = createSweeper({
      due: {
        // The index orders them by their keys, which are random.
        due: async (now) =>
          (await due.due(now))
            .filter((work) => work.tenantId === tenantId)
            .sort((one, other) => startOf(one) - startOf(other)),
      },
      storesOf: () => stores,
      clock,
      log: {
        sweepFailed: (_work, error) => sweepFaults.push(error),
        repaired: () => undefined,
        parked: () => undefined,
      },
    });
    const principal = {
      userId: conversation.ownerId,
      name: 'Mia',
      email: null,
      roles: ['MEMBER'],
      tenantId,
      credential: { kind: 'SESSION', sessionId: '01ARZ3NDEKTSV4RRFFQ69G5FAV' },
      expiresAt: Infinity,
    } as const;

    /** The services as one request gets them. */
    function request() {
      const scope = { tenantId, principal };
      const conversations = createConversationService({
        scope,
        stores,
        loaders: createConversationLoaders(stores.conversations, stores.messages, cursors),
        agents: { choose: () => ({ id: 'support', name: 'Support' }) },
        clock,
      });
      const turns = createTurnService({
        scope,
        knowledgeBaseIds: ['KBONE'],
        concurrentGenerations,
        stores,
        conversations,
        generations,
        clock,
        background: (work) => background.push(work),
      });
      return { conversations, turns };
    }

    return {
      ...watched,
      generations,
      script,
      sweeper,
      sweepFaults,
      faults,
      background,
      request,
      send: (content = 'What is the refund policy?', idempotencyKey?: string) =>
        request().turns.send({ conversationId: conversation.id, content, idempotencyKey }),
    };
  }

  const answerOf = async (turn = 0): Promise<Message | null> =>
    (await direct.messages.getMany([messageId(conversation.id, turn * 2 + 2)]))[0] ?? null;

  const clock = benchClock;
  return {
    clock,
    tenantId,
    conversation,
    direct,
    process,
    answerOf,
    messages: () => direct.messages.range(conversation.id, 1, 100),
    usage: (): Promise<UsageEvent[]> => collect(direct.usage.events(clock.now() - 3_600_000, clock.now() + 3_600_000)),
    state: () => direct.conversations.state(conversation.id),
    /** The tokens of the month. */
    quota: () => direct.quota.state('2026-11'),
    /** The one turn row of this tenant. */
    async turnRow(): Promise<Turn | null> {
      const [row] = (await storage.rowsOf(tenantId)).filter(({ PK }) => PK.includes('#TURN#'));
      return row ? direct.turns.get(row.PK.split('#')[3]!) : null;
    },
    /** The ids of the turns that wrote messages, by the ids of those. */
    async turnIdsOf(messages: readonly Message[]): Promise<ReadonlyMap<string, string>> {
      const found = messages.map(async ({ id }) => {
        const key = await direct.messages.turnKey(id);
        const turn = key === null ? null : await direct.turns.get(key);
        return [id, turn?.id ?? ''] as const;
      });
      return new Map(await Promise.all(found));
    },
    dueStore: directDb.due,
    /** Work that a sweeper would find, now or at any later time; not the hours that are to be closed. */
    due: async () =>
      (await storage.rowsOf(tenantId))
        .filter(({ duePK, SK }) => String(duePK).startsWith('SYS#DUE') && !SK.startsWith('H#'))
        .map(({ PK, SK }) => `${PK} ${SK}`),
  };
}

export type Bench = Awaited<ReturnType<typeof openBench>>;
export type Process = ReturnType<Bench['process']>;

/** Moves the time on in small steps until `work` has ended: for what waits for the store and for the clock in turn. */
export async function passTime<T>(clock: TestClock, work: Promise<T>): Promise<PromiseSettledResult<T>> {
  let ended = false;
  const outcome = Promise.allSettled([work]).then(([result]) => {
    ended = true;
    return result;
  });
  // The store answers in its own time, however busy the machine is: that bounds the steps, not their number.
  for (const until = performance.now() + 25_000; !ended && performance.now() < until;) await clock.advance(50);
  if (!ended) throw new Error('It did not end, however much time passed.');
  return outcome;
}

export const numbersOf = (events: readonly StreamEvent[]): number[] => events.map(({ sequence }) => sequence);
