import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createTestClock } from '../support/clock.ts';
import { startOwnStorage } from '../support/own-storage.ts';
import { expectTenantNeeded } from '../support/refusals.ts';
import { stopInTime } from '../support/turns.ts';
import { aTurn, loadUsage } from '../support/usage-rows.ts';
import { startWorld, type Caller, type World } from '../support/world.ts';

const SERIES = `query($start: DateTime!, $end: DateTime!, $bucket: UsageBucket!, $timeZone: String, $filter: UsageFilter) {
  usageTimeSeries(start: $start, end: $end, bucket: $bucket, timeZone: $timeZone, filter: $filter) {
    start end turns invocations tokens { totalTokens } costUsd
  }
}`;
const HOUR_MS = 3_600_000;
/** The clocks of Berlin go back in the night to 25 October 2026: that day has 25 hours. */
const START = Date.parse('2026-10-23T22:00:00.000Z');
const at = (ms: number) => new Date(ms).toISOString();
const use = (modelId: string, tokens: number) => ({
  ...{ inputTokens: tokens, outputTokens: 0, estimatedTokens: 0, modelId },
  models: [{ modelId, inputTokens: tokens, outputTokens: 0, estimatedTokens: 0, nanoUsd: tokens * 60 }],
});

describe('usageTimeSeries', () => {
  const clock = createTestClock(START + 4 * 24 * HOUR_MS);
  let storage: Awaited<ReturnType<typeof startOwnStorage>>;
  let world: World;
  let admin: Caller;
  beforeAll(async () => {
    storage = await startOwnStorage();
    const turns = [
      aTurn(START + 5, { ...use('nova', 100), agentId: 'support', userId: 'user-a' }),
      aTurn(START + 30 * 60_000, { ...use('nova', 10), agentId: 'analyst', userId: 'user-b' }),
      aTurn(START + 24 * HOUR_MS, { ...use('sonnet', 1_000), agentId: 'support', userId: 'user-a' }),
      aTurn(START + 49 * HOUR_MS - 1, { ...use('nova', 7), agentId: 'support', userId: 'user-b', attempts: 0 }),
      aTurn(START + 49 * HOUR_MS, { ...use('nova', 1), agentId: 'support', userId: 'user-b' }),
    ];
    await loadUsage(storage.config.storage.endpoint, 'acme', turns);
    world = await startWorld({ clock, config: storage.config });
    admin = world.acme.admin;
  });
  afterAll(async () => {
    await stopInTime(world, clock);
    await storage.close();
  });

  async function series(variables: object, caller = admin) {
    const { data, code } = await caller.run(SERIES, { start: at(START), end: at(START + 73 * HOUR_MS), ...variables });
    return { code, points: (data?.usageTimeSeries ?? []) as { start: string; end: string; [name: string]: unknown }[] };
  }
  const tokensOf = (points: readonly Record<string, unknown>[]) =>
    points.map(({ tokens }) => (tokens as { totalTokens: number }).totalTokens);

  it('ok: days of a time zone, also one of 25 hours, each with what began in it', async () => {
    const { points } = await series({ bucket: 'DAY', timeZone: 'Europe/Berlin' });
    expect(points.map(({ start, end }) => (Date.parse(end) - Date.parse(start)) / HOUR_MS)).toEqual([24, 25, 24]);
    expect(points.map(({ turns }) => turns)).toEqual([2, 2, 1]);
    expect(points.map(({ invocations }) => invocations)).toEqual([2, 1, 1]);
    expect(tokensOf(points)).toEqual([110, 1_007, 1]);
    expect(points[0]!['costUsd']).toBeCloseTo(110 * 60e-9, 12);
  });

  it('ok: days of UTC are others, and the first and last are cut', async () => {
    const { points } = await series({ bucket: 'DAY' });
    expect(points[0]).toMatchObject({ start: at(START), end: '2026-10-24T00:00:00.000Z' });
    expect(points.at(-1)).toMatchObject({ end: at(START + 73 * HOUR_MS) });
    expect(tokensOf(points)).toEqual([110, 1_000, 8, 0]);
  });

  it('ok: hours, those without usage too; a zone that is off by half an hour cuts them there', async () => {
    const period = { start: at(START), end: at(START + 3 * HOUR_MS) };
    const utc = await series({ ...period, bucket: 'HOUR' });
    expect(tokensOf(utc.points)).toEqual([110, 0, 0]);
    const india = await series({ ...period, bucket: 'HOUR', timeZone: 'Asia/Kolkata' });
    expect(india.points.map(({ start }) => start.slice(14, 16))).toEqual(['00', '30', '30', '30']);
    expect(tokensOf(india.points)).toEqual([100, 10, 0, 0]);
  });

  it.each([
    [{ agentId: 'support' }, [100, 1_007, 1], { turns: null, costUsd: null }],
    [{ modelId: 'nova' }, [110, 7, 1], { turns: null, invocations: null }],
    [{ userId: 'user-b' }, [10, 7, 1], { invocations: null, costUsd: null }],
    [{ userId: 'nobody' }, [0, 0, 0], { turns: 0 }],
  ])('ok: of %j alone, with null for what nobody counts under it', async (filter, tokens, shown) => {
    const { points } = await series({ bucket: 'DAY', timeZone: 'Europe/Berlin', filter });
    expect(tokensOf(points)).toEqual(tokens);
    expect(points[0]).toMatchObject(shown);
  });

  it('ok: the points add up to the summary, whether hours are closed or not', async () => {
    const summary = `query($start: DateTime!, $end: DateTime!) { usageSummary(start: $start, end: $end) { tokens { totalTokens } byModel { modelId costUsd tokens { totalTokens } } } }`;
    const period = { start: at(START + 6), end: at(START + 49 * HOUR_MS) };
    const { data } = await admin.run(summary, period);
    const { points } = await series({ ...period, bucket: 'HOUR' });
    expect(tokensOf(points).reduce((sum, tokens) => sum + tokens, 0)).toBe(1_017);
    expect(data.usageSummary.tokens.totalTokens).toBe(1_017);
    expect(data.usageSummary.byModel).toEqual([
      { modelId: 'sonnet', costUsd: 0.00006, tokens: { totalTokens: 1_000 } },
      { modelId: 'nova', costUsd: (17 * 60) / 1e9, tokens: { totalTokens: 17 } },
    ]);
  });

  it.each([
    ['a zone that is none', { bucket: 'DAY', timeZone: 'Europe/Atlantis' }],
    ['a filter of two names', { bucket: 'DAY', filter: { agentId: 'support', userId: 'user-a' } }],
    ['more than 1,000 points', { bucket: 'HOUR', end: at(START + 1_001 * HOUR_MS) }],
    ['an empty period', { bucket: 'DAY', end: at(START) }],
  ])('BAD_USER_INPUT for %s', async (_name, variables) => {
    expect((await series(variables)).code).toBe('BAD_USER_INPUT');
  });

  it('FORBIDDEN for a member; nothing of another tenant', async () => {
    expect((await series({ bucket: 'DAY' }, world.acme.member)).code).toBe('FORBIDDEN');
    expect(new Set(tokensOf((await series({ bucket: 'DAY' }, world.globex.admin)).points))).toEqual(new Set([0]));
  });

  it('UNAUTHENTICATED, TENANT_REQUIRED, TENANT_INVALID and FORBIDDEN for those without a tenant', () =>
    expectTenantNeeded(world, SERIES, { start: at(START), end: at(START + 1), bucket: 'DAY' }));
});
