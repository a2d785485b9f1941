import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createTestClock, settle } from '../support/clock.ts';
import { startEndlessTurn, cancel, stopInTime } from '../support/turns.ts';
import { startOwnStorage } from '../support/own-storage.ts';
import { startWorld, type Caller, type World } from '../support/world.ts';

const WATCH = `subscription { liveUsage {
  at activeGenerations
  day { start invocations inputTokens outputTokens tokensLimit tokensRemaining resetsAt }
  month { start invocations inputTokens outputTokens tokensLimit tokensRemaining resetsAt }
} }`;
const SUMMARY = `query($start: DateTime!, $end: DateTime!) {
  usageSummary(start: $start, end: $end) { agents { invocations } tokens { inputTokens outputTokens } }
}`;
const LIMIT = 100_000;

interface Live {
  readonly at: string;
  readonly activeGenerations: number;
  readonly day: Record<string, number | string | null>;
  readonly month: Record<string, number | string | null>;
}

describe('liveUsage', () => {
  // Noon, in the middle of a month, so that neither ends by accident.
  const clock = createTestClock(Date.parse('2026-11-20T12:00:00.000Z'));
  let storage: Awaited<ReturnType<typeof startOwnStorage>>;
  let world: World;
  beforeAll(async () => {
    storage = await startOwnStorage();
    await storage.addTenant('initech', { tokensPerDay: LIMIT, tokensPerMonth: 2 * LIMIT });
    world = await startWorld({
      clock,
      config: { ...storage.config, jwt: { ...testJwt(), accessTtlMs: 3 * 86_400_000 } },
    });
  });
  afterAll(async () => {
    await stopInTime(world, clock);
    await storage.close();
  });

  function testJwt() {
    return { issuer: 'bedrock-graphql', audience: 'bedrock-graphql', refreshTtlMs: 86_400_000, verificationKeys: [] };
  }

  /** Watches, and gathers what comes. */
  async function watch(caller: Caller) {
    const seen: Live[] = [];
    const refused: unknown[] = [];
    const events = caller.stream(WATCH);
    void (async () => {
      for await (const { data, errors } of events) {
        if (errors) refused.push(errors[0]?.extensions);
        else seen.push((data as { liveUsage: Live }).liveUsage);
      }
    })();
    const until = async (met: (live: Live) => boolean) => {
      for (let step = 0; step < 600; step++) {
        const last = seen.at(-1);
        if (last && met(last)) return last;
        await clock.advance(100);
        await caller.run('{ viewer { id } }'); // time for what travels over sockets
      }
      throw new Error(`it never came: ${JSON.stringify(seen.at(-1))}`);
    };
    await until(() => true);
    return { seen, refused, until, leave: () => void events.return?.() };
  }

  it('ok: begins with the present state, and shows within a second what a turn used, as usageSummary does', async () => {
    const admin = await world.signIn('initech', 'admin@initech.example');
    const live = await watch(admin);
    expect(live.seen[0]).toMatchObject({
      activeGenerations: 0,
      day: {
        start: '2026-11-20T00:00:00.000Z',
        resetsAt: '2026-11-21T00:00:00.000Z',
        ...{ invocations: 0, inputTokens: 0, outputTokens: 0, tokensLimit: LIMIT, tokensRemaining: LIMIT },
      },
      month: { start: '2026-11-01T00:00:00.000Z', resetsAt: '2026-12-01T00:00:00.000Z', tokensLimit: 2 * LIMIT },
    });
    const id = await admin.createConversation();
    await admin.ask(id, '[[emulate inputTokens=700 outputTokens=33]] hello');
    const after = await live.until(({ day, activeGenerations }) => day['invocations'] === 1 && activeGenerations === 0);
    expect(after.day).toMatchObject({ inputTokens: 700, outputTokens: 33, tokensRemaining: LIMIT - 733 });
    expect(after.month).toMatchObject({ inputTokens: 700, outputTokens: 33, tokensRemaining: 2 * LIMIT - 733 });
    const { data } = await admin.run(SUMMARY, { start: after.month['start'], end: after.month['resetsAt'] });
    expect(data.usageSummary).toEqual({
      agents: { invocations: 1 },
      tokens: { inputTokens: after.month['inputTokens'], outputTokens: after.month['outputTokens'] },
    });
    live.leave();
  });

  it('a turn that runs is an active generation, and what it holds is not remaining', async () => {
    const { admin } = world.globex;
    const live = await watch(admin);
    const { answerId } = await startEndlessTurn(admin, await admin.createConversation());
    await live.until(({ activeGenerations }) => activeGenerations === 1);
    await cancel(admin, answerId);
    await live.until(({ activeGenerations }) => activeGenerations === 0);
    live.leave();
  });

  it('is pushed at most once a second, however much changes, to everybody who watches', async () => {
    const admin = world.acme.admin;
    const watchers = await Promise.all([watch(admin), watch(admin)]);
    const ids = await Promise.all(Array.from({ length: 10 }, () => admin.createConversation()));
    const from = clock.now();
    for (const id of ids) {
      await admin.ask(id, '[[emulate inputTokens=10 outputTokens=1]] hello');
      await clock.advance(100);
    }
    for (const { until } of watchers) await until(({ day }) => day['invocations'] === 10);
    for (const { seen } of watchers) {
      const times = seen.map(({ at }) => Date.parse(at)).filter((at) => at >= from);
      expect(times.length).toBeLessThanOrEqual(Math.ceil((clock.now() - from) / 1_000) + 1);
      for (const [index, at] of times.entries())
        if (index > 0) expect(at - times[index - 1]!).toBeGreaterThanOrEqual(1_000);
    }
    for (const { leave } of watchers) leave();
  });

  it("says nothing of another tenant's turns", async () => {
    const live = await watch(world.globex.admin);
    const before = live.seen.length;
    await world.acme.member.ask(await world.acme.member.createConversation(), 'hello');
    await clock.advance(5_000);
    await settle();
    expect(live.seen).toHaveLength(before);
    live.leave();
  });

  it('begins anew with the day, without a change', async () => {
    const live = await watch(world.acme.admin);
    await clock.advance(Date.parse('2026-11-21T00:00:00.000Z') - clock.now());
    const fresh = await live.until(({ day }) => day['start'] === '2026-11-21T00:00:00.000Z');
    expect(fresh.day['invocations']).toBe(0);
    expect(fresh.month['invocations']).not.toBe(0);
    live.leave();
  });

  it('FORBIDDEN for a member; an acting operator sees it', async () => {
    for await (const { errors } of world.acme.member.stream(WATCH))
      expect(errors?.[0]?.extensions).toMatchObject({ code: 'FORBIDDEN' });
    const live = await watch(world.operator.with({ 'x-tenant-id': 'acme' }));
    expect(live.refused).toEqual([]);
    live.leave();
  });

  it('a reader who leaves leaves no timer behind', async () => {
    const before = clock.pending();
    const live = await watch(world.acme.admin);
    live.leave();
    await world.acme.admin.run('{ viewer { id } }');
    await settle();
    expect(clock.pending()).toBeLessThanOrEqual(before + 1); // the socket's own, until it is closed
  });
});
