import { describe, expect, it } from 'vitest';
import { ulid, ulidTime } from '../../src/kernel/ids.ts';
import { parseTenantId } from '../../src/tenancy/tenant-id.ts';
import type { ServiceUsage, TurnEvent, UsageEvent, UsageSummary } from '../../src/usage/model.ts';
import type { UsageStore } from '../../src/usage/ports.ts';
import { periodName } from '../../src/usage/periods.ts';
import { NO_PRICES } from '../../src/usage/prices.ts';
import { createUsageService } from '../../src/usage/service.ts';
import { createTestClock } from '../support/clock.ts';
import { METERING } from '../support/conversation-rows.ts';
import { randomNumbers } from '../support/random.ts';
import { aService } from '../support/usage-rows.ts';

const DAY = 24 * 3_600_000;
const START = Date.parse('2026-11-01T00:00:00.000Z');

const never = () => Promise.reject(new Error('nothing is closed here'));

/** A summary with what it reads when it is asked for. */
async function whole({ conversations, users, ...summary }: UsageSummary) {
  const uniqueUsers = await conversations.uniqueUsers();
  return { ...summary, conversations: { ...conversations, uniqueUsers }, users: await users() };
}

/** A store that keeps its events in a list. */
function listStore(events: UsageEvent[] = []): UsageStore & { readonly list: UsageEvent[] } {
  const idOf = (event: UsageEvent) => (event.kind === 'SIGN_IN' ? event.id : event.turnId);
  return {
    list: events,
    record: (event) => {
      if (!events.some((each) => idOf(each) === idOf(event))) events.push(event);
      return Promise.resolve();
    },
    // eslint-disable-next-line @typescript-eslint/require-await
    async *events(start, end) {
      yield* events.filter((event) => ulidTime(idOf(event)) >= start && ulidTime(idOf(event)) < end);
    },
    // Every hour is open.
    heads: (kind, { start, end }) => {
      const inside = events.map((event) => ulidTime(idOf(event))).filter((time) => time >= start && time < end);
      const names = kind === 'DAY' ? [] : [...new Set(inside.map((time) => periodName('HOUR', time)))];
      return Promise.resolve(names.sort().map((name) => ({ name, closed: null })));
    },
    ordered() {
      throw new Error('nothing is exported here');
    },
    canClose: () => true,
    closeNoMore: never,
    turn: never,
    ...{ beginClosing: never, writePart: never, finishClosing: never, dropOldParts: never },
    readParts() {
      throw new Error('nothing is closed here');
    },
  };
}

function service(events: UsageEvent[] = []) {
  const store = listStore(events);
  const clock = createTestClock(START + DAY);
  return {
    store,
    clock,
    usage: createUsageService({
      tenantId: parseTenantId('acme')!,
      store,
      prices: NO_PRICES,
      changed: () => undefined,
    }),
  };
}

function randomEvents(seed: number, count: number): UsageEvent[] {
  const random = randomNumbers(seed);
  const upTo = (max: number) => Math.floor(random() * max);
  const calls = () =>
    aService(
      Array.from({ length: upTo(4) }, () => upTo(500)),
      { failures: upTo(2) },
    );
  return Array.from({ length: count }, (): UsageEvent => {
    const at = START + upTo(3 * DAY);
    if (random() < 0.1) {
      const signIn = { userId: `user-${upTo(9)}`, identityProvider: 'PASSWORD', latencyMs: upTo(90) };
      return { kind: 'SIGN_IN', id: ulid(at), ...signIn };
    }
    return {
      kind: 'TURN',
      turnId: ulid(at),
      conversationId: `conv-${upTo(20)}`,
      userId: `user-${upTo(7)}`,
      agentId: `agent-${upTo(3)}`,
      modelId: null,
      first: random() < 0.3,
      status: (['COMPLETED', 'FAILED', 'CANCELLED'] as const)[upTo(3)]!,
      errorCode: null,
      attempts: upTo(4),
      aliasId: null,
      inputTokens: upTo(5_000_000_000),
      outputTokens: upTo(10_000),
      estimatedTokens: upTo(100),
      models: [],
      priceVersion: null,
      latencyMs: upTo(60_000),
      firstTextMs: null,
      ...{ requestIds: [], traceIds: [], sessionId: null, signInId: null },
      traces: upTo(9),
      memory: calls(),
      knowledgeBase: calls(),
      actionGroup: calls(),
    };
  });
}

const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);

/** A percentile may be 2 % off. */
const within = (value: number) => expect.closeTo(value, -Math.log10(2 * (value * 0.0201 + 1e-9))) as number;

/** The same definitions, written down a second time. */
function expectedCalls(latencies: readonly number[], failures: number, count = latencies.length): ServiceUsage {
  const rank = (percent: number) => {
    const ascending = [...latencies].sort((a, b) => a - b);
    return ascending.find((_, index) => (index + 1) * 100 >= percent * ascending.length) ?? 0;
  };
  return {
    invocations: count,
    totalLatencyMs: sum(latencies),
    averageLatencyMs: latencies.length ? sum(latencies) / latencies.length : 0,
    latencyMs: { p50: within(rank(50)), p90: within(rank(90)), p95: within(rank(95)), p99: within(rank(99)) },
    successRate: count ? 1 - failures / count : 1,
    errorRate: count ? failures / count : 0,
  };
}

function expectedRuntime(turns: readonly TurnEvent[]): ServiceUsage {
  const invoked = turns.filter(({ attempts }) => attempts > 0);
  return expectedCalls(
    invoked.map(({ latencyMs }) => latencyMs),
    invoked.filter(({ status }) => status === 'FAILED').length,
  );
}

const expectedTokens = (turns: readonly TurnEvent[]) => ({
  inputTokens: sum(turns.map(({ inputTokens }) => inputTokens)),
  outputTokens: sum(turns.map(({ outputTokens }) => outputTokens)),
  totalTokens: sum(turns.map(({ inputTokens, outputTokens }) => inputTokens + outputTokens)),
});

describe('a summary equals an independent computation', () => {
  it.each([1, 2, 3, 4, 5])('of random events, seed %i', async (seed) => {
    const events = randomEvents(seed, 400);
    const [start, end] = [START + DAY / 3, START + 2 * DAY + 12_345];
    const { usage } = service(events);
    const summary = await whole(await usage.summary(new Date(start), new Date(end)));

    const inside = (time: number) => time >= start && time < end;
    const turns = events.flatMap((event) => (event.kind === 'TURN' && inside(ulidTime(event.turnId)) ? [event] : []));
    const signIns = events.flatMap((event) => (event.kind === 'SIGN_IN' && inside(ulidTime(event.id)) ? [event] : []));
    const conversations = turns.filter(({ first }) => first).length;
    expect(turns.length).toBeGreaterThan(150);

    expect(summary).toMatchObject({
      tenantId: 'acme',
      start: new Date(start).toISOString(),
      end: new Date(end).toISOString(),
      agents: expectedRuntime(turns),
      conversations: {
        conversations,
        turns: turns.length,
        uniqueUsers: new Set(turns.map(({ userId }) => userId)).size,
        turnsPerConversation: turns.length / conversations,
      },
      tokens: expectedTokens(turns),
      estimatedTokens: sum(turns.map(({ estimatedTokens }) => estimatedTokens)),
    });

    for (const { hour, invocations, tokens } of summary.byHourOfDay) {
      const ofHour = turns.filter(({ turnId }) => new Date(ulidTime(turnId)).getUTCHours() === hour);
      expect(invocations).toBe(expectedRuntime(ofHour).invocations);
      expect(tokens).toEqual(expectedTokens(ofHour));
    }
    expect(summary.byHourOfDay.map(({ hour }) => hour)).toEqual(Array.from({ length: 24 }, (_, hour) => hour));

    for (const row of summary.byAgent) {
      const ofAgent = turns.filter(({ agentId }) => agentId === row.agentId);
      const { invocations, averageLatencyMs, errorRate } = expectedRuntime(ofAgent);
      expect(row).toEqual({
        agentId: row.agentId,
        invocations,
        averageLatencyMs,
        errorRate,
        tokens: expectedTokens(ofAgent),
      });
    }
    expect(summary.byAgent.map(({ agentId }) => agentId).toSorted()).toEqual(['agent-0', 'agent-1', 'agent-2']);

    for (const row of summary.users) {
      const ofUser = turns.filter(({ userId }) => userId === row.userId);
      expect(row).toEqual({
        tenantId: 'acme',
        userId: row.userId,
        turns: ofUser.length,
        tokens: expectedTokens(ofUser),
      });
    }
    const used = summary.users.map(({ tokens }) => tokens.totalTokens);
    expect(used).toEqual([...used].sort((a, b) => b - a));
    expect(sum(summary.users.map((user) => user.turns))).toBe(turns.length);

    const service_ = (name: string) => summary.byService.find((row) => row.service === name)?.usage;
    expect(summary.byService).toHaveLength(6);
    expect(service_('RUNTIME')).toEqual(summary.agents);
    expect(service_('IDENTITY')).toEqual(
      expectedCalls(
        signIns.map(({ latencyMs }) => latencyMs),
        0,
      ),
    );
    for (const [name, field] of [
      ['MEMORY', 'memory'],
      ['KNOWLEDGE_BASE', 'knowledgeBase'],
      ['ACTION_GROUP', 'actionGroup'],
    ] as const) {
      const failures = sum(turns.map((turn) => turn[field].failures));
      expect(service_(name)).toEqual(
        expectedCalls(
          turns.flatMap((turn) => turn[field].latenciesMs),
          failures,
        ),
      );
    }
    const traces = sum(turns.map((turn) => turn.traces));
    expect(service_('OBSERVABILITY')).toEqual(expectedCalls([], 0, traces));
  });
});

describe('a period', () => {
  it('without events has zeros, 24 hours, 6 services and full success, and no NaN', async () => {
    const { usage } = service();
    const summary = await whole(await usage.summary(new Date(START), new Date(START + DAY)));
    expect(summary).toMatchObject({
      agents: { invocations: 0, averageLatencyMs: 0, successRate: 1, errorRate: 0 },
      conversations: { conversations: 0, turns: 0, uniqueUsers: 0, turnsPerConversation: 0 },
      byAgent: [],
      users: [],
    });
    expect(summary.byHourOfDay).toHaveLength(24);
    expect(summary.byService).toHaveLength(6);
    expect(JSON.stringify(summary)).not.toContain('null');
  });

  it('of one turn that never reached the agent is a turn and no invocation', async () => {
    const { usage } = service();
    await usage.recordTurn({
      ...METERING,
      attempts: 0,
      turnId: ulid(START),
      conversationId: 'conv-1',
      userId: 'user-1',
      agentId: 'support',
      signInId: null,
      first: false,
      status: 'FAILED',
      errorCode: 'INTERRUPTED',
    });
    const summary = await whole(await usage.summary(new Date(START), new Date(START + 1)));
    expect(summary.conversations).toMatchObject({
      turns: 1,
      conversations: 0,
      turnsPerConversation: 0,
      uniqueUsers: 1,
    });
    expect(summary.agents).toMatchObject({ invocations: 0, errorRate: 0, successRate: 1 });
  });

  it.each([
    [START, START],
    [START, START - 1],
    [START, START + 400 * DAY + 1],
    [Date.parse('9999-12-31T23:00:00.000Z'), Date.parse('9999-12-31T23:00:00.000-01:00')],
    [Date.parse('0000-01-01T00:00:00.000+01:00'), Date.parse('0000-01-01T01:00:00.000Z')],
  ])('from %i to %i is BAD_USER_INPUT', async (start, end) => {
    const { usage } = service();
    await expect(usage.summary(new Date(start), new Date(end))).rejects.toMatchObject({ code: 'BAD_USER_INPUT' });
  });

  it('of exactly 400 days is served', async () => {
    const { usage } = service();
    await expect(usage.summary(new Date(START), new Date(START + 400 * DAY))).resolves.toBeDefined();
  });

  it('a sign-in is recorded at the time it happened', async () => {
    const { usage, store, clock } = service();
    const signIn = { userId: 'user-1', identityProvider: 'PASSWORD', latencyMs: 42 };
    await usage.recordSignIn({ id: ulid(clock.now()), ...signIn });
    expect(store.list).toMatchObject([{ kind: 'SIGN_IN', userId: 'user-1', latencyMs: 42 }]);
    expect(ulidTime((store.list[0] as { id: string }).id)).toBe(clock.now());
  });

  it('the top users are the first of them; a number out of 1 to 1,000 is BAD_USER_INPUT', async () => {
    const { usage } = service(randomEvents(9, 200));
    const summary = await usage.summary(new Date(START), new Date(START + 3 * DAY));
    const users = await summary.users();
    expect(await usage.topUsers(summary, 3)).toEqual(users.slice(0, 3));
    expect(await usage.topUsers(summary, 1_000)).toEqual(users);
    for (const first of [0, -1, 1_001])
      await expect(usage.topUsers(summary, first)).rejects.toMatchObject({ code: 'BAD_USER_INPUT' });
  });
});
