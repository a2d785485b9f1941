import type { TenantId } from '../tenancy/tenant-id.ts';
import {
  USAGE_SERVICES,
  type ActionGroupUsage,
  type HourUsage,
  type KnowledgeBaseUsage,
  type ModelUsage,
  type Percentiles,
  type ServiceUsage,
  type TokenTotals,
  type UsageSummary,
  type UserUsage,
} from './model.ts';
import type { BaseTally } from './ports.ts';
import { quantile, type LatencySketch } from '../kernel/latency-sketch.ts';
import type { CallCounters, Tally, TargetCounters, TokenCounters } from './tally.ts';

const NANO = 1e9;

const percentiles = (sketch: LatencySketch): Percentiles => ({
  p50: quantile(sketch, 0.5),
  p90: quantile(sketch, 0.9),
  p95: quantile(sketch, 0.95),
  p99: quantile(sketch, 0.99),
});

const share = (part: number, of: number): number => (of === 0 ? 0 : part / of);

function serviceUsage({ calls, failures, measured, latencyMs, sketch }: CallCounters): ServiceUsage {
  const errorRate = share(failures, calls);
  return {
    invocations: calls,
    totalLatencyMs: latencyMs,
    averageLatencyMs: share(latencyMs, measured),
    latencyMs: percentiles(sketch),
    successRate: 1 - errorRate,
    errorRate,
  };
}

export const tokenTotals = ({ input, output }: TokenCounters): TokenTotals => ({
  inputTokens: input,
  outputTokens: output,
  totalTokens: input + output,
});

/** Most tokens first; those that are equal by name, so that the order is always the same. */
const byTokens = <T extends TokenCounters>(counters: Record<string, T>): [string, T][] =>
  Object.entries(counters).sort(
    ([a, one], [b, other]) => other.input + other.output - (one.input + one.output) || (a < b ? -1 : 1),
  );

/** Most calls first; those that are equal by name. */
const byCalls = (counters: Readonly<Record<string, TargetCounters>>) =>
  Object.entries(counters)
    .sort(([a, one], [b, other]) => other.calls - one.calls || (a < b ? -1 : 1))
    .map(([name, { calls, failures, measured, latencyMs, results }]) => ({
      name: name === '' ? null : name,
      ...{ calls, results, averageLatencyMs: share(latencyMs, measured), errorRate: share(failures, calls) },
    }));

const knowledgeBaseRows = (counters: Tally['knowledgeBases']): KnowledgeBaseUsage[] =>
  byCalls(counters).map(({ name, calls, ...rest }) => ({ knowledgeBaseId: name, queries: calls, ...rest }));

const actionGroupRows = (counters: Tally['actionGroups']): ActionGroupUsage[] =>
  byCalls(counters).map(({ name, results: _none, ...rest }) => ({ actionGroup: name, ...rest }));

const hourRows = (hours: Tally['hours']): HourUsage[] =>
  Array.from({ length: 24 }, (_, hour) => {
    const counters = hours[hour] ?? { input: 0, output: 0, invocations: 0 };
    return { hour, invocations: counters.invocations, tokens: tokenTotals(counters) };
  });

/** In US dollars: added up in whole billionths, so that however it is added the sum is the same. */
export const costOf = (models: Tally['models']): number =>
  Object.values(models).reduce((sum, { nanoUsd }) => sum + nanoUsd, 0) / NANO;

export const modelRows = (models: Tally['models']): ModelUsage[] =>
  byTokens(models).map(([modelId, counters]) => ({
    modelId: modelId === '' ? null : modelId,
    tokens: tokenTotals(counters),
    estimatedTokens: counters.estimated,
    costUsd: counters.nanoUsd / NANO,
    unpricedTokens: counters.unpriced,
  }));

export const userRows = (tenantId: TenantId, users: Tally['users']): UserUsage[] =>
  byTokens(users).map(([userId, counters]) => ({
    tenantId,
    userId,
    turns: counters.turns,
    tokens: tokenTotals(counters),
  }));

export interface UsagePeriod {
  readonly tenantId: TenantId;
  readonly start: string;
  readonly end: string;
}

/** What a tally says of a period. The users are read when they are asked for: what they cost to read grows with their number. */
export function summaryOf(
  period: UsagePeriod,
  tally: BaseTally,
  users: () => Promise<readonly UserUsage[]>,
): UsageSummary {
  const { turns, conversations } = tally;
  const models = modelRows(tally.models);
  return {
    ...period,
    agents: serviceUsage(tally.services.RUNTIME),
    conversations: {
      conversations,
      turns,
      uniqueUsers: async () => (await users()).filter((user) => user.turns > 0).length,
      turnsPerConversation: share(turns, conversations),
    },
    tokens: tokenTotals(tally),
    estimatedTokens: tally.estimated,
    costUsd: costOf(tally.models),
    unpricedTokens: models.reduce((sum, { unpricedTokens }) => sum + unpricedTokens, 0),
    byModel: models,
    byAgent: byTokens(tally.agents).map(([agentId, counters]) => ({
      agentId,
      invocations: counters.invocations,
      averageLatencyMs: share(counters.latencyMs, counters.invocations),
      errorRate: share(counters.failures, counters.invocations),
      tokens: tokenTotals(counters),
    })),
    byKnowledgeBase: knowledgeBaseRows(tally.knowledgeBases),
    byActionGroup: actionGroupRows(tally.actionGroups),
    users,
    byHourOfDay: hourRows(tally.hours),
    byService: USAGE_SERVICES.map((service) => ({ service, usage: serviceUsage(tally.services[service]) })),
  };
}
