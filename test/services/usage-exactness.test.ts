import { afterAll, beforeAll, expect, it } from 'vitest';
import { createMemoryUsageChanges } from '../../src/adapters/memory/usage-changes.ts';
import type { Conversation, TokenUsage } from '../../src/conversations/model.ts';
import { LEASE_MS } from '../../src/conversations/upkeep.ts';
import { ulidTime } from '../../src/kernel/ids.ts';
import type { TenantId } from '../../src/tenancy/tenant-id.ts';
import { reconcile } from '../../src/usage/closing.ts';
import { createUsageExport } from '../../src/usage/export.ts';
import { createLiveUsages } from '../../src/usage/live.ts';
import type { UsageEvent } from '../../src/usage/model.ts';
import { DAY_MS, HOUR_MS } from '../../src/usage/periods.ts';
import { createUsageService } from '../../src/usage/service.ts';
import { createTestClock, type TestClock } from '../support/clock.ts';
import { collect } from '../support/collect.ts';
import { aConversation } from '../support/conversation-rows.ts';
import { readCsv } from '../support/csv.ts';
import { openEmbeddedStorage, type Storage } from '../support/dynamodb-storage.ts';
import { randomNumbers } from '../support/random.ts';
import { AGENTS, openUsageRun, type UsageProcess, type UsageRun } from '../support/usage-run.ts';

const TURNS = Number(process.env['USAGE_TURNS'] ?? 2_000);
const AT_ONCE = 40;
/** The last evening of November: hours, days and the month end within the run. */
const START = Date.parse('2026-11-29T17:00:00.000Z');
const END = Date.parse('2026-12-01T09:00:00.000Z');
const SPAN = { start: new Date(START), end: new Date(END) };

/** Steps after which a process dies: of the send, of the answer, of its end. */
const DEATHS = [
  ...['turns.open', 'conversations.lock', 'quota.reserve', 'messages.add', 'turns.placed', 'messages.checkpoint'],
  ...['streams.append', 'messages.end', 'meter.recordTurn', 'quota.settle', 'conversations.unlock', 'turns.finish'],
];

/** What a test knows of a turn that it had made. */
interface Made {
  readonly tenantId: TenantId;
  readonly conversation: Conversation;
  readonly question: string;
  readonly at: number;
  /** A process that was taken for dead came back and told of it: nothing of it is an estimate in the end. */
  readonly cameBack: boolean;
}

/** A turn as it should be counted. */
interface Counted {
  readonly made: Made;
  readonly tokens: { readonly input: number; readonly output: number; readonly estimated: number };
  /** It broke off with its process: what is known of it is what was stored. */
  readonly interrupted: boolean;
}

let storage: Storage;
beforeAll(async () => {
  storage = await openEmbeddedStorage();
});
afterAll(() => storage.close());

/** Makes the turns: with faults of agents, repeated sends, writes that fail, processes that die, and some that are taken for dead. */
async function makeTurns(
  run: UsageRun,
  { clock, random, tenants }: { clock: TestClock; random: () => number; tenants: readonly TenantId[] },
) {
  const upTo = (max: number) => Math.floor(random() * max);
  const pick = <T>(list: readonly T[]): T => list[upTo(list.length)]!;
  const made: Made[] = [];
  const users = [...'abcde'].map((name, n) => ({ userId: `user-${name}`, tenantId: tenants[n < 3 ? 0 : 1]! }));
  const conversations: Conversation[] = [];
  for (const { userId, tenantId } of users) {
    for (let n = 0; n < 12; n++) {
      const conversation = aConversation(tenantId, { ownerId: userId, agentId: AGENTS[n % 3]!.id });
      await run.db.forTenant(tenantId).conversations.create(conversation);
      conversations.push(conversation);
    }
  }

  let processes: UsageProcess[] = [run.startProcess(), run.startProcess()];
  const replaceDead = () => {
    processes = processes.map((process) => (process.alive() ? process : run.startProcess()));
  };

  const faultOf = (): string => {
    const fault = random();
    if (fault < 0.06) return ' error=ThrottlingException times=1';
    if (fault < 0.08) return ' error=InternalServerException alias=1';
    if (fault < 0.1) return ` error=BadGatewayException after=${1 + upTo(3)}`;
    if (fault < 0.12) return ' cut=true after=1';
    return '';
  };
  const newMade = (conversation: Conversation): Made => ({
    ...{ tenantId: conversation.tenantId, conversation, question: `Turn ${made.length} of refunds?` },
    ...{ at: clock.now(), cameBack: false },
  });
  const emulate = () =>
    `inputTokens=${upTo(5_000)} outputTokens=${upTo(900)} steps=${1 + upTo(3)}${random() < 0.1 ? ' action=Orders' : ''}`;

  /** Sends, perhaps twice, perhaps to a process that dies meanwhile. */
  function send(process: UsageProcess, conversation: Conversation): Promise<unknown>[] {
    const one = newMade(conversation);
    made.push(one);
    const content = `${one.question} [[emulate chunks=${1 + upTo(4)} ${emulate()}${faultOf()}]]`;
    const key = random() < 0.1 ? one.question : undefined;
    const senders = [process, ...(key ? [pick(processes)] : [])];
    return senders.map((each) => each.send(conversation, content, key).catch(() => null));
  }

  const allAlive = () => processes.every((process) => process.alive());

  /** What a process that died was asked is never answered. */
  async function answered(sends: readonly Promise<unknown>[]) {
    let done = false;
    void Promise.all(sends).then(() => (done = true));
    while (!done && allAlive()) await tick();
    while (processes.some((process) => process.alive() && process.generations.count() > 0)) await tick();
    await run.quiet();
  }

  /** A repeated send looks again and again for what the first one is about to store. */
  async function tick() {
    await run.quiet();
    await clock.advance(50);
  }

  /** One of its next writes is its last, or fails. */
  function harm(process: UsageProcess) {
    const watched = process.watched(pick(tenants));
    if (random() < 0.5) {
      watched.before('meter.recordTurn', () => {
        watched.before('meter.recordTurn', null);
        throw new Error('throttled');
      });
    } else void watched.dieAfter(pick(DEATHS)).then(() => process.die());
  }

  /** A process that cannot reach the store: its turn is repaired by another one, and then it comes back. */
  async function comeBack() {
    const zombie = run.startProcess();
    const conversation = pick(conversations);
    const one = { ...newMade(conversation), cameBack: true };
    const { question } = one;
    const refuse = () => {
      throw new Error('out of reach');
    };
    for (const name of ['turns.renew', 'messages.checkpoint'])
      zombie.watched(conversation.tenantId).before(name, refuse);
    await zombie.send(conversation, `${question} [[emulate chunks=2 delayMs=90000 ${emulate()}]]`);
    made.push(one);
    const begun = () => run.served().some((call) => call.question === question && call.chunksSent > 0);
    while (!begun()) await run.quiet();
    await run.quiet();
    await clock.advance(LEASE_MS + 1);
    await run.startProcess().sweep();
    await clock.advance(30_000);
    while (zombie.generations.count() > 0) await tick();
    zombie.die();
  }

  const stepMs = Math.floor((END - START - HOUR_MS) / (TURNS / AT_ONCE));
  while (made.length < TURNS) {
    const batch = [...conversations].sort(() => random() - 0.5).slice(0, Math.min(AT_ONCE, TURNS - made.length));
    if (random() < 0.5) harm(pick(processes));
    await answered(batch.flatMap((conversation) => send(pick(processes), conversation)));
    const before = clock.now();
    replaceDead();
    await clock.advance(Math.max(1, stepMs + upTo(60_000) - 30_000 - (clock.now() - before)));
    await run.quiet();
    await Promise.all(processes.map((process) => process.sweep()));
    replaceDead();
    if (random() < 0.15 && made.length < TURNS) await comeBack();
    if (random() < 0.2) await Promise.all([run.closer.round(), run.closer.round()]);
  }
  // Whatever is left is repaired, and every hour closed.
  const last = run.startProcess();
  for (let round = 0; round < 4; round++) {
    await clock.advance(LEASE_MS + 1);
    await last.sweep();
  }
  for (let round = 0; round < 4; round++) {
    await run.closer.round();
    await clock.advance(DAY_MS);
  }
  await run.closer.round();
  return made;
}

const sum = (numbers: readonly number[]): number => numbers.reduce((total, each) => total + each, 0);

/** What each turn should count, from what the emulator says it served, and where that never arrived from what its message shows. */
async function countTurns(run: UsageRun, made: readonly Made[]): Promise<Counted[]> {
  const served = Map.groupBy(run.served(), ({ question }) => question);
  const messages = new Map<string, { readonly usage: TokenUsage; readonly interrupted: boolean }>();
  for (const { tenantId, conversation } of new Map(made.map((one) => [one.conversation.id, one])).values()) {
    const rows = await run.db.forTenant(tenantId).messages.range(conversation.id, 1, 1_000);
    for (const [index, { role, content }] of rows.entries()) {
      const { usage, error } = rows[index + 1] ?? {};
      const interrupted = error?.code === 'INTERRUPTED';
      if (role === 'USER' && usage) messages.set(content.split(' [[')[0]!, { usage, interrupted });
    }
  }
  return made.flatMap((one) => {
    const shown = messages.get(one.question);
    const calls = served.get(one.question) ?? [];
    const reported = {
      input: sum(calls.map(({ inputTokens }) => inputTokens)),
      output: sum(calls.map(({ outputTokens }) => outputTokens)),
    };
    if (one.cameBack) return [{ made: one, tokens: { ...reported, estimated: 0 }, interrupted: true }];
    if (!shown) return []; // refused, or its sender died before it had a place
    const { inputTokens: input, outputTokens: output, totalTokens, estimatedTokens: estimated } = shown.usage;
    // What was not estimated is what arrived: all that was served, unless the process died meanwhile.
    if (shown.interrupted) expect(totalTokens - estimated).toBeLessThanOrEqual(reported.input + reported.output);
    else expect(totalTokens - estimated, one.question).toBe(reported.input + reported.output);
    if (!shown.interrupted && estimated === 0) expect({ input, output }, one.question).toEqual(reported);
    return [{ made: one, tokens: { input, output, estimated }, interrupted: shown.interrupted }];
  });
}

const totalOf = (turns: readonly Counted[]) => {
  const inputTokens = sum(turns.map(({ tokens }) => tokens.input));
  const outputTokens = sum(turns.map(({ tokens }) => tokens.output));
  return { inputTokens, outputTokens, totalTokens: inputTokens + outputTokens };
};

type Row = UsageEvent & { readonly id: string };
type TurnRow = Extract<Row, { kind: 'TURN' }>;

/** What an administrator reads of one tenant. */
function readersOf(run: UsageRun, tenantId: TenantId) {
  const { usage: store, quota } = run.db.forTenant(tenantId);
  const usage = createUsageService({ tenantId, store, prices: run.prices, changed: () => undefined });
  const exported = createUsageExport(store);
  const text = async (format: 'CSV' | 'JSONL') => (await collect(exported.text({ ...SPAN, format }, null))).join('');
  const limits = () => Promise.resolve({ tokensPerDay: 1e12, tokensPerMonth: 1e12 });
  return {
    ...{ store, quota, usage, text },
    /** The counters as they were at a moment. */
    async live(at: number) {
      const clock = createTestClock(at);
      const watching = createLiveUsages(createMemoryUsageChanges(), clock).watch({ tenantId, store, quota, limits });
      const first = watching.next();
      await clock.advance(0);
      const { value } = await first;
      await watching.return?.();
      return value!;
    },
  };
}

async function compareTenant(run: UsageRun, tenantId: TenantId, counted: readonly Counted[]) {
  const readers = readersOf(run, tenantId);
  const { store, quota, usage, text } = readers;
  const rows = (await text('JSONL')).trimEnd().split('\n').map((line) => JSON.parse(line) as Row); // prettier-ignore
  const turnRows = rows.filter((row): row is TurnRow => row.kind === 'TURN');
  const within = (from: number, to: number) => counted.filter(({ made }) => made.at >= from && made.at < to);

  // The export: one event for each turn, and with the corrections what each turn used.
  const place = (conversationId: string, at: number) => `${conversationId} ${at}`;
  const byTurn = Map.groupBy(
    rows.filter((row) => row.kind !== 'SIGN_IN'),
    ({ turnId }) => turnId,
  );
  const rowOf = new Map(turnRows.map((row) => [place(row.conversationId, ulidTime(row.turnId)), row]));
  expect(turnRows).toHaveLength(counted.length);
  expect(rowOf.size).toBe(counted.length);
  const rowsOf = ({ made }: Counted) => rowOf.get(place(made.conversation.id, made.at))!;
  for (const turn of counted) {
    const own = byTurn.get(rowsOf(turn).turnId) ?? [];
    const found = {
      input: sum(own.map(({ inputTokens }) => inputTokens)),
      output: sum(own.map(({ outputTokens }) => outputTokens)),
      estimated: sum(own.map(({ estimatedTokens }) => estimatedTokens)),
    };
    expect(found, turn.made.question).toEqual(turn.tokens);
  }
  const [header = [], ...cells] = readCsv(await text('CSV'));
  const column = (name: string) => sum(cells.map((row) => Number(row[header.indexOf(name)])));
  const all = totalOf(counted);
  expect([column('inputTokens'), column('outputTokens')]).toEqual([all.inputTokens, all.outputTokens]);

  // The summary.
  const summary = await usage.summary(SPAN.start, SPAN.end);
  const estimated = sum(counted.map(({ tokens }) => tokens.estimated));
  expect(summary.tokens).toEqual(all);
  expect(summary.estimatedTokens).toBe(estimated);
  const users = [...new Set(counted.map(({ made }) => made.conversation.ownerId))];
  const begun = new Set(counted.map(({ made }) => made.conversation.id)).size;
  const { conversations } = summary;
  expect(conversations).toMatchObject({ turns: counted.length, conversations: begun });
  expect(await conversations.uniqueUsers()).toBe(users.length);
  for (const { userId, turns, tokens } of await summary.users()) {
    const own = counted.filter(({ made }) => made.conversation.ownerId === userId);
    expect([turns, tokens], userId).toEqual([own.length, totalOf(own)]);
    expect(await usage.ofUser(userId, SPAN.start, SPAN.end)).toMatchObject({ turns, tokens });
  }
  const ofAgent = (agentId: string) => counted.filter(({ made }) => made.conversation.agentId === agentId);
  const served = Map.groupBy(run.served(), ({ question }) => question);
  const callsOf = ({ made }: Counted) => served.get(made.question) ?? [];
  const invoked = (turns: readonly Counted[]) =>
    turns.filter((turn) => (turn.interrupted ? rowsOf(turn).attempts > 0 : callsOf(turn).length > 0)).length;
  expect(summary.byAgent).toHaveLength(AGENTS.length);
  for (const { agentId, invocations, tokens } of summary.byAgent) {
    expect([invocations, tokens], agentId).toEqual([invoked(ofAgent(agentId)), totalOf(ofAgent(agentId))]);
  }
  for (const { hour, invocations, tokens } of summary.byHourOfDay) {
    const own = counted.filter(({ made }) => new Date(made.at).getUTCHours() === hour);
    expect([invocations, tokens], `${hour}`).toEqual([invoked(own), totalOf(own)]);
  }

  // By model: each agent has one, but what was estimated before any trace has none. The cost is that of the day.
  const nano = { costNano: 0, unpriced: 0 };
  for (const { id, modelId } of AGENTS) {
    const nameless = ofAgent(id).flatMap((turn) => (byTurn.get(rowsOf(turn).turnId) ?? []).flatMap(({ models }) => models.filter((use) => use.modelId === null))); // prettier-ignore
    const without = sum(nameless.map(({ inputTokens, outputTokens }) => inputTokens + outputTokens));
    const row = summary.byModel.find((each) => each.modelId === modelId)!;
    expect(row.tokens.totalTokens, id).toBe(totalOf(ofAgent(id)).totalTokens - without);
    nano.unpriced += without;
    for (const turn of ofAgent(id)) {
      const own = (byTurn.get(rowsOf(turn).turnId) ?? []).flatMap(({ models }) => models).filter((use) => use.modelId === modelId); // prettier-ignore
      const [input, output] = [sum(own.map((use) => use.inputTokens)), sum(own.map((use) => use.outputTokens))];
      const price = priceOf(modelId!, turn.made.at);
      if (price) nano.costNano += input * price[0] + output * price[1];
      else nano.unpriced += input + output;
    }
  }
  expect(Math.round(summary.costUsd * 1e9)).toBe(nano.costNano);
  expect(summary.unpricedTokens).toBe(nano.unpriced);

  // Services: of turns that broke off, what was stored.
  const stored = counted.filter(({ interrupted }) => interrupted).map(rowsOf);
  const whole = counted.filter(({ interrupted }) => !interrupted).flatMap(callsOf);
  for (const { knowledgeBaseId, queries, results } of summary.byKnowledgeBase) {
    const targets = stored.flatMap((row) => row.knowledgeBase.targets).filter(({ name }) => name === knowledgeBaseId);
    const lookups = whole.flatMap((call) => call.lookups).filter((each) => each.knowledgeBaseId === knowledgeBaseId);
    expect(queries).toBe(lookups.length + sum(targets.map(({ calls }) => calls)));
    expect(results).toBe(sum(lookups.map((each) => each.results)) + sum(targets.map((each) => each.results)));
  }
  expect(summary.byKnowledgeBase).toHaveLength(3);
  const remembered = whole.filter(({ memoryId }) => memoryId !== null);
  expect(remembered.length).toBeGreaterThan(0);
  for (const { sessionAttributes: of, memoryId } of remembered)
    expect(memoryId).toBe(`${of['tenantId']}:${of['userId']}`);
  const actions = whole.flatMap((call) => call.actions).length + sum(stored.map((row) => row.actionGroup.calls));
  expect(summary.byActionGroup).toMatchObject([{ actionGroup: 'Orders', calls: actions, errorRate: 0 }]);
  const calls = new Map(summary.byService.map(({ service, usage: of }) => [service, of.invocations]));
  expect(calls.get('RUNTIME')).toBe(invoked(counted));
  expect(calls.get('MEMORY')).toBe(remembered.length + sum(stored.map(({ memory }) => memory.calls)));
  expect(calls.get('OBSERVABILITY')).toBe(
    sum(whole.map(({ tracesSent }) => tracesSent)) + sum(stored.map(({ traces }) => traces)),
  );
  for (const turn of counted.filter(({ interrupted }) => !interrupted)) {
    expect(rowsOf(turn).requestIds.toSorted()).toEqual(callsOf(turn).map(({ requestId }) => requestId).toSorted()); // prettier-ignore
    expect(rowsOf(turn).attempts).toBe(callsOf(turn).length);
  }

  // Series: every hour, the days of a zone, and by one agent or user.
  const [agentId, userId] = [AGENTS[1]!.id, users[0]!];
  const series = [
    { bucket: 'HOUR', timeZone: 'UTC', filter: {}, own: counted },
    { bucket: 'DAY', timeZone: 'Europe/Berlin', filter: {}, own: counted },
    { bucket: 'HOUR', timeZone: 'UTC', filter: { agentId }, own: ofAgent(agentId) },
    { bucket: 'DAY', timeZone: 'UTC', filter: { userId }, own: counted.filter(({ made }) => made.conversation.ownerId === userId) }, // prettier-ignore
  ] as const;
  for (const { own, ...request } of series) {
    const points = await usage.series({ ...SPAN, ...request });
    for (const { start, end, tokens, turns, invocations } of points) {
      const inPoint = own.filter(({ made }) => made.at >= Date.parse(start) && made.at < Date.parse(end));
      expect(tokens).toEqual(totalOf(inPoint));
      if (turns !== null) expect(turns).toBe(inPoint.length);
      if (invocations !== null) expect(invocations).toBe(invoked(inPoint));
    }
    expect(sum(points.map(({ tokens }) => tokens.totalTokens))).toBe(totalOf(own).totalTokens);
  }

  // Quota and live counters of both months.
  for (const at of [Date.parse('2026-11-30T23:59:59.999Z'), END - 1]) {
    const [day, month] = [new Date(at).toISOString().slice(8, 10), new Date(at).toISOString().slice(0, 7)];
    const midnight = Math.floor(at / DAY_MS) * DAY_MS;
    const [ofDay, ofMonth] = [within(midnight, at + 1), within(Date.parse(`${month}-01T00:00:00Z`), at + 1)];
    expect(await quota.state(month, day)).toMatchObject({
      ...{ usedOnDay: totalOf(ofDay).totalTokens, usedInMonth: totalOf(ofMonth).totalTokens, holds: {} },
    });
    const counters = await readers.live(at);
    for (const [window, own] of [
      [counters.day, ofDay],
      [counters.month, ofMonth],
    ] as const) {
      // prettier-ignore
      const { inputTokens, outputTokens, totalTokens } = totalOf(own);
      const invocations = invoked(own);
      expect(window).toMatchObject({ invocations, inputTokens, outputTokens, tokensRemaining: 1e12 - totalTokens });
    }
    expect(counters.activeGenerations).toBe(0);
  }

  // Closing every hour again changes nothing.
  expect(await reconcile(store, { start: START, end: END }, createTestClock(END + 3 * DAY_MS))).toMatchObject({
    changed: [],
  });
}

/** In billionths of a dollar. */
function priceOf(modelId: string, at: number): readonly [number, number] | null {
  if (modelId === 'model-ONE') return at < Date.parse('2026-11-30T12:00:00Z') ? [3_000, 15_000] : [2_000, 10_000];
  return modelId === 'model-TWO' && at >= Date.parse('2026-11-30T00:00:00Z') ? [1_000, 4_000] : null;
}

it(
  `${TURNS} turns of 2 tenants, 5 users and 3 agents, over the ends of hours, days and a month, with crashes, repeats, retries and ` +
    'late events: every number is that of an independent sum',
  async () => {
    const seed = Number(process.env['USAGE_SEED'] ?? Math.floor(Math.random() * 1e9));
    const clock = createTestClock(START);
    const tenants = [storage.tenant(), storage.tenant()];
    const run = await openUsageRun(storage, clock, tenants);
    try {
      const made = await makeTurns(run, { clock, random: randomNumbers(seed), tenants });
      const counted = await countTurns(run, made);
      expect(counted.length).toBeGreaterThan(TURNS * 0.9);
      expect(counted.some(({ interrupted, made: { cameBack } }) => interrupted && !cameBack)).toBe(true);
      expect(counted.some(({ made: { cameBack } }) => cameBack)).toBe(true);
      expect(sum(counted.map(({ tokens }) => tokens.estimated))).toBeGreaterThan(0);
      for (const tenantId of tenants) {
        await compareTenant(
          run,
          tenantId,
          counted.filter(({ made: one }) => one.tenantId === tenantId),
        );
      }
    } catch (error) {
      throw new Error(`USAGE_SEED=${seed}: ${(error as Error).message}`, { cause: error });
    } finally {
      await run.close();
    }
  },
  240_000,
);
