import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createTestClock, type TestClock } from '../support/clock.ts';
import { actingIn, expectTenantNeeded } from '../support/refusals.ts';
import {
  cancel,
  eventsOf,
  remove,
  servedBy,
  servedIn,
  startEndlessTurn,
  startTurn,
  stopInTime,
} from '../support/turns.ts';
import { startWorld, type Caller, type World } from '../support/world.ts';

const CALLS = `invocations totalLatencyMs averageLatencyMs latencyMs { p50 p90 p95 p99 } successRate errorRate`;
const TOKENS = `tokens { inputTokens outputTokens totalTokens }`;
const SUMMARY = `query($start: DateTime!, $end: DateTime!, $first: Int = 100) { usageSummary(start: $start, end: $end) {
  start end estimatedTokens ${TOKENS}
  agents { ${CALLS} }
  conversations { conversations turns uniqueUsers turnsPerConversation }
  byAgent { agent { id } invocations averageLatencyMs errorRate ${TOKENS} }
  byUser(first: $first) { user { id name } turns ${TOKENS} }
  byHourOfDay { hour invocations ${TOKENS} }
  byService { service usage { ${CALLS} } }
} }`;

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const NO_TOKENS = { inputTokens: 0, outputTokens: 0, totalTokens: 0 };
const UNUSED = {
  ...{ invocations: 0, totalLatencyMs: 0, averageLatencyMs: 0, successRate: 1, errorRate: 0 },
  latencyMs: { p50: 0, p90: 0, p95: 0, p99: 0 },
};
const iso = (ms: number) => new Date(ms).toISOString();

describe('usageSummary', () => {
  let clock: TestClock;
  let world: World;
  let admin: Caller & { readonly id: string };
  let member: Caller & { readonly id: string };
  /** When the test began: it is an hour of its own, in which nothing was used before. */
  let start: number;
  beforeAll(async () => {
    clock = createTestClock();
    world = await startWorld({ clock });
  });
  afterAll(() => stopInTime(world, clock));
  beforeEach(async () => {
    await clock.skip(DAY_MS);
    admin = await world.signIn('acme', 'admin@acme.example');
    member = await world.signIn('acme', 'member@acme.example');
    await clock.advance(1_000);
    start = clock.now();
  });

  const run = (caller: Caller, from: number | string, to: number | string, first?: number | null) =>
    caller.run(SUMMARY, {
      start: typeof from === 'number' ? iso(from) : from,
      end: typeof to === 'number' ? iso(to) : to,
      ...(first !== undefined && { first }),
    });
  const summary = async (from = start, to = clock.now() + 1, caller: Caller = admin) => {
    const { data, errors } = await run(caller, from, to);
    expect(errors).toEqual([]);
    return data.usageSummary;
  };
  const ask = async (caller: Caller, content: string, conversationId?: string) => {
    const id = conversationId ?? (await caller.createConversation());
    const { data } = await caller.ask(id, content);
    return { id, answer: data.sendMessage.assistantMessage };
  };
  const sumOf = (rows: readonly { inputTokens: number; outputTokens: number }[]) => {
    const inputTokens = rows.reduce((sum, row) => sum + row.inputTokens, 0);
    const outputTokens = rows.reduce((sum, row) => sum + row.outputTokens, 0);
    return { inputTokens, outputTokens, totalTokens: inputTokens + outputTokens };
  };
  const createWith = async (caller: Caller, agentId: string): Promise<string> => {
    const create = `mutation($agentId: ID!) { createConversation(input: { agentId: $agentId }) { conversation { id } } }`;
    return (await caller.run(create, { agentId })).data.createConversation.conversation.id;
  };

  it('ok: an empty period is all zeros, with its 24 hours and 6 services', async () => {
    const empty = await summary(start, start + HOUR_MS);
    expect(empty).toEqual({
      ...{ start: iso(start), end: iso(start + HOUR_MS), estimatedTokens: 0, tokens: NO_TOKENS, agents: UNUSED },
      conversations: { conversations: 0, turns: 0, uniqueUsers: 0, turnsPerConversation: 0 },
      ...{ byAgent: [], byUser: [] },
      byHourOfDay: Array.from({ length: 24 }, (_, hour) => ({ hour, invocations: 0, tokens: NO_TOKENS })),
      byService: ['RUNTIME', 'MEMORY', 'IDENTITY', 'OBSERVABILITY', 'KNOWLEDGE_BASE', 'ACTION_GROUP'].map(
        (service) => ({
          service,
          usage: UNUSED,
        }),
      ),
    });
  });

  it('ok: exactly the tokens that the agents reported, by agent, user and hour', async () => {
    const first = await ask(member, 'What about refunds?');
    await ask(member, 'And anvils?', first.id);
    await ask(
      member,
      'Revenue? [[emulate inputTokens=1000001 outputTokens=7 steps=3]]',
      await createWith(member, 'analyst'),
    );
    const admins = await ask(admin, 'What about shipping?');
    const conversations = [first.id, admins.id];
    const served = servedBy(world).slice(-4);
    const [, , analyst] = served;
    const { tokens, estimatedTokens, ...shown } = await summary();

    expect(tokens).toEqual(sumOf(served));
    expect(estimatedTokens).toBe(0);
    expect(shown.conversations).toEqual({ conversations: 3, turns: 4, uniqueUsers: 2, turnsPerConversation: 4 / 3 });
    expect(shown.agents).toMatchObject({ invocations: 4, successRate: 1, errorRate: 0 });
    const support = conversations.flatMap((id) => servedIn(world, id));
    expect(shown.byAgent).toEqual([
      { agent: { id: 'analyst' }, invocations: 1, averageLatencyMs: 0, errorRate: 0, tokens: sumOf([analyst!]) },
      { agent: { id: 'support' }, invocations: 3, averageLatencyMs: 0, errorRate: 0, tokens: sumOf(support) },
    ]);
    expect(sumOf([analyst!])).toEqual({ inputTokens: 1_000_001, outputTokens: 7, totalTokens: 1_000_008 });
    expect(shown.byUser).toEqual([
      { user: { id: member.id, name: 'Acme Corporation Member' }, turns: 3, tokens: sumOf(served.slice(0, 3)) },
      { user: { id: admin.id, name: 'Acme Corporation Admin' }, turns: 1, tokens: sumOf(served.slice(3)) },
    ]);
    const hour = new Date(start).getUTCHours();
    expect(shown.byHourOfDay[hour]).toEqual({ hour, invocations: 4, tokens });
    expect(shown.byHourOfDay.filter(({ invocations }: { invocations: number }) => invocations > 0)).toHaveLength(1);
  });

  it('ok: by service: turns, sign-ins, trace events, look-ups', async () => {
    await ask(member, 'What about refunds?');
    await ask(member, 'What about anvils?');
    await world.signIn('acme', 'member@acme.example');
    await world.signIn('globex', 'member@globex.example');
    const { byService } = await summary();
    const invocations = Object.fromEntries(
      byService.map(({ service, usage }: { service: string; usage: { invocations: number } }) => [
        service,
        usage.invocations,
      ]),
    );
    // Each turn has two model steps with a look-up between them: 3 + 2 + 1 trace events before the answer, 2 after it.
    expect(invocations).toEqual({
      RUNTIME: 2,
      MEMORY: 0,
      IDENTITY: 1,
      OBSERVABILITY: 16,
      KNOWLEDGE_BASE: 2,
      ACTION_GROUP: 0,
    });
  });

  it('ok: failed turns count as errors, cancelled ones do not; both with their tokens', async () => {
    const failed = [
      'Hm [[emulate error=ThrottlingException]]',
      'What about refunds? [[emulate cut=true]]',
      'What about refunds? [[emulate error=InternalServerException after=3]]',
      // What the agent would go on to report after the passage must not be on its way already: it waits after its first chunk.
      'What about refunds? [[emulate foreign=globex after=0 chunks=20 delayMs=600000]]',
      'What about refunds? [[emulate empty=true]]',
      'What about refunds? [[emulate tool=lookUp]]',
    ];
    const ids: string[] = [];
    for (const content of failed) ids.push((await ask(member, content)).id);
    const cancelled = await member.createConversation();
    await cancel(member, (await startEndlessTurn(member, cancelled)).answerId);
    const whole = await ask(member, 'What about refunds?');
    ids.push(cancelled, whole.id);

    const served = ids.flatMap((id) => servedIn(world, id));
    const query = `query($id: ID!) { conversation(id: $id) { lastMessage { usage { inputTokens outputTokens totalTokens estimated } } } }`;
    const usages = await Promise.all(
      ids.map(async (id) => (await member.run(query, { id })).data.conversation.lastMessage.usage),
    );
    const { tokens, estimatedTokens, agents, conversations, byAgent, byUser } = await summary();
    expect(agents).toMatchObject({ invocations: 8, errorRate: 6 / 8, successRate: 2 / 8 });
    expect(byAgent).toMatchObject([{ invocations: 8, errorRate: 6 / 8, tokens }]);
    expect(byUser).toMatchObject([{ turns: 8, tokens }]);
    expect(conversations).toMatchObject({ turns: 8, conversations: 8, uniqueUsers: 1 });
    // What the messages show adds up to the summary, and what was not estimated is what the agents reported.
    expect(tokens).toEqual(sumOf(usages));
    expect(tokens.totalTokens - estimatedTokens).toBe(sumOf(served).totalTokens);
    expect(usages.map(({ estimated }) => estimated)).toEqual([false, true, true, true, false, false, true, false]);
    expect(estimatedTokens).toBeGreaterThan(0);
  });

  it('ok: sums beyond 32 bits', async () => {
    for (let turn = 0; turn < 3; turn++)
      await ask(member, 'Hm [[emulate inputTokens=1000000000 outputTokens=1000000000]]');
    expect((await summary()).tokens).toEqual({ inputTokens: 3e9, outputTokens: 3e9, totalTokens: 6e9 });
  });

  it('ok: a turn appears once it has ended, and a repeated send counts once', async () => {
    const id = await member.createConversation();
    const { answerId } = await startEndlessTurn(member, id);
    expect((await summary()).conversations.turns).toBe(0);
    await cancel(member, answerId);
    expect((await summary()).conversations.turns).toBe(1);
    for (let time = 0; time < 3; time++) await member.ask(id, 'What about refunds?', { idempotencyKey: 'k' });
    expect((await summary()).conversations).toMatchObject({ turns: 2, conversations: 1 });
  });

  it('ok: a deleted conversation was used all the same', async () => {
    const { id } = await ask(member, 'What about refunds?');
    const before = await summary();
    await remove(member, id);
    expect(await summary()).toEqual(before);
  });

  it('ok: latencies add up to what the messages show; percentiles by nearest rank, within 2 %', async () => {
    const latencies: number[] = [];
    for (const delayMs of [1_000, 5_000, 2_000]) {
      const { answerId } = await startTurn(
        member,
        await member.createConversation(),
        `What about refunds? [[emulate chunks=2 delayMs=${delayMs}]]`,
      );
      let ended = false;
      const events = eventsOf(member, answerId).finally(() => (ended = true));
      while (!ended) {
        await clock.advance(500);
        await member.run('{ tenant { id } }'); // time for what travels over sockets
      }
      await events;
      const { data } = await member.run(`query($id: ID!) { message(id: $id) { usage { latencyMs } } }`, {
        id: answerId,
      });
      latencies.push(data.message.usage.latencyMs);
    }
    const sorted = latencies.toSorted((a, b) => a - b);
    const totalLatencyMs = latencies.reduce((sum, ms) => sum + ms, 0);
    const { agents, byService } = await summary();
    expect(sorted[0]).toBeGreaterThanOrEqual(1_000);
    const { latencyMs, ...rest } = agents;
    expect(rest).toEqual({
      ...{ invocations: 3, successRate: 1, errorRate: 0, totalLatencyMs, averageLatencyMs: totalLatencyMs / 3 },
    });
    for (const [name, rank] of [
      ['p50', 1],
      ['p90', 2],
      ['p95', 2],
      ['p99', 2],
    ] as const)
      expect(Math.abs(latencyMs[name] / sorted[rank]! - 1)).toBeLessThanOrEqual(0.02);
    expect(byService[0]).toEqual({ service: 'RUNTIME', usage: agents });
  });

  describe('periods', () => {
    const turnsIn = async (from: number, to: number) => (await summary(from, to)).conversations.turns as number;

    it('are half-open, to the millisecond', async () => {
      await ask(member, 'What about refunds?'); // at `start`, by a clock that stands still
      expect(await turnsIn(start, start + 1)).toBe(1);
      expect(await turnsIn(start - 1, start)).toBe(0);
      expect(await turnsIn(start - 1, start + 1)).toBe(1);
      expect(await turnsIn(start + 1, start + HOUR_MS)).toBe(0);
      expect(await turnsIn(start - DAY_MS / 2, start)).toBe(0);
    });

    it('split into parts add up: nothing is counted twice or left out at the edges of hours and days', async () => {
      const midnight = Math.ceil(start / DAY_MS) * DAY_MS;
      const moments = [
        midnight - HOUR_MS,
        midnight - 1,
        midnight,
        midnight + 1,
        midnight + HOUR_MS - 1,
        midnight + HOUR_MS,
      ];
      for (const moment of moments) {
        await clock.advance(moment - clock.now());
        const caller = await world.signIn('acme', 'member@acme.example');
        await ask(caller, 'What about refunds?');
      }
      admin = await world.signIn('acme', 'admin@acme.example');
      expect(await turnsIn(midnight - HOUR_MS, midnight)).toBe(2);
      expect(await turnsIn(midnight, midnight + HOUR_MS)).toBe(3);
      expect(await turnsIn(midnight + HOUR_MS, midnight + 2 * HOUR_MS)).toBe(1);
      const all = await summary(midnight - HOUR_MS, midnight + 2 * HOUR_MS);
      const hours = all.byHourOfDay.map(({ invocations }: { invocations: number }) => invocations);
      expect(hours).toEqual([3, 1, ...Array(21).fill(0), 2]);
      expect(all.conversations).toEqual({ conversations: 6, turns: 6, uniqueUsers: 1, turnsPerConversation: 1 });
    });

    it('a conversation counts where its first turn is, its turns where they are', async () => {
      const { id } = await ask(member, 'One');
      await clock.advance(60_000);
      const second = clock.now();
      await ask(member, 'Two', id);
      expect((await summary(start, second)).conversations).toMatchObject({ conversations: 1, turns: 1 });
      expect((await summary(second, second + 1)).conversations).toEqual({
        ...{ conversations: 0, turns: 1, uniqueUsers: 1, turnsPerConversation: 0 },
      });
    });

    it('may be 400 days long, in any zone and any century', async () => {
      await ask(member, 'What about refunds?');
      expect(await turnsIn(start, start + 400 * DAY_MS)).toBe(1);
      expect(await turnsIn(start + 1 - 400 * DAY_MS, start + 1)).toBeGreaterThan(0);
      const local = iso(start + 2 * HOUR_MS).replace('Z', '+02:00');
      const { data } = await run(admin, local, iso(start + 1));
      expect(data.usageSummary).toMatchObject({ start: iso(start), conversations: { turns: 1 } });
      for (const year of ['0001', '1969', '9999']) {
        const { errors } = await run(admin, `${year}-01-01T00:00:00.000Z`, `${year}-12-31T00:00:00.000Z`);
        expect([year, errors]).toEqual([year, []]);
      }
    });

    it('BAD_USER_INPUT for empty, reversed and longer ones, and for what is no time', async () => {
      const cases: [number | string, number | string][] = [
        [start, start],
        [start + 1, start],
        [start, start + 400 * DAY_MS + 1],
        [start, start + 100 * 400 * DAY_MS],
        ['', start],
        ['yesterday', start],
        ['2026-11-20', start],
        ['2026-13-01T00:00:00.000Z', start],
        ['2026-02-30T00:00:00.000Z', start],
        ['2026-11-20T00:00:00', start],
      ];
      for (const [from, to] of cases)
        expect([from, to, (await run(admin, from, to)).code]).toEqual([from, to, 'BAD_USER_INPUT']);
    });
  });

  describe('byUser', () => {
    it('shows those who used most first, and as many as asked for', async () => {
      await ask(member, 'Hm [[emulate inputTokens=10 outputTokens=10]]');
      await ask(admin, 'Hm [[emulate inputTokens=5 outputTokens=16]]');
      const top = async (first: number) =>
        (await run(admin, start, start + 1, first)).data.usageSummary.byUser.map(
          ({ user }: { user: { id: string } }) => user.id,
        );
      expect(await top(1)).toEqual([admin.id]);
      expect(await top(2)).toEqual([admin.id, member.id]);
      expect(await top(1_000)).toEqual([admin.id, member.id]);
    });

    it('BAD_USER_INPUT for fewer than 1 and more than 1,000', async () => {
      for (const first of [0, -1, 1_001])
        expect((await run(admin, start, start + 1, first)).code).toBe('BAD_USER_INPUT');
    });
  });

  describe('roles', () => {
    it('ok: an operator who acts in the tenant sees what its admin sees', async () => {
      await ask(member, 'What about refunds?');
      const operator = (await world.signIn('platform', 'operator@platform.example')).with({ 'x-tenant-id': 'acme' });
      expect(await summary(start, start + 1, operator)).toEqual(await summary(start, start + 1));
    });

    it('another tenant sees nothing of it', async () => {
      await ask(member, 'What about refunds?');
      const globex = await world.signIn('globex', 'admin@globex.example');
      expect((await summary(start, start + 1, globex)).conversations.turns).toBe(0);
    });

    it('FORBIDDEN for a member, also before anything else is looked at', async () => {
      for (const to of [start + 1, start - 1]) {
        expect(await run(member, start, to)).toMatchObject({ code: 'FORBIDDEN', status: 403, data: null });
      }
    });

    it('UNAUTHENTICATED, TENANT_REQUIRED, TENANT_INVALID and FORBIDDEN for those without a tenant', async () => {
      const fresh = await startWorld();
      try {
        await expectTenantNeeded(fresh, SUMMARY, { start: iso(start), end: iso(start + 1) });
        expect((await run(actingIn(fresh, 'hooli'), start, start + 1)).code).toBe('TENANT_INVALID');
      } finally {
        await fresh.stop();
      }
    });
  });
});
