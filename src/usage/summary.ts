import { ulidTime } from '../kernel/ids.ts';
import type { TenantId } from '../tenancy/tenant-id.ts';
import {
  USAGE_SERVICES,
  type HourUsage,
  type Percentiles,
  type ServiceCalls,
  type ServiceUsage,
  type TokenTotals,
  type TurnEvent,
  type UsageEvent,
  type UsageServiceName,
  type UsageSummary,
} from './model.ts';

export interface UsagePeriod {
  readonly tenantId: TenantId;
  readonly start: string;
  readonly end: string;
}

/** Calls of one service as they are added up. */
interface CallTally {
  latenciesMs: number[];
  failures: number;
  /** Calls whose latency nobody measures: they count, and nothing else. */
  unmeasured: number;
}

interface TurnTally {
  turns: number;
  runtime: CallTally;
  input: number;
  output: number;
}

const newCalls = (): CallTally => ({ latenciesMs: [], failures: 0, unmeasured: 0 });
const newTurns = (): TurnTally => ({ turns: 0, runtime: newCalls(), input: 0, output: 0 });

function entry<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  const found = map.get(key);
  if (found !== undefined) return found;
  const made = make();
  map.set(key, made);
  return made;
}

function addTurn(tally: TurnTally, event: TurnEvent) {
  tally.turns++;
  if (event.attempts === 0) return; // it never reached the agent: a turn, but no invocation
  tally.runtime.latenciesMs.push(event.latencyMs);
  if (event.status === 'FAILED') tally.runtime.failures++;
}

function addCalls(tally: CallTally, calls: ServiceCalls) {
  tally.latenciesMs.push(...calls.latenciesMs);
  tally.failures += calls.failures;
}

/** Nearest rank: the smallest value that at least this share of the values does not exceed. */
function percentiles(values: readonly number[]): Percentiles {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (share: number) => sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? 0;
  return { p50: at(0.5), p90: at(0.9), p95: at(0.95), p99: at(0.99) };
}

function serviceUsage({ latenciesMs, failures, unmeasured }: CallTally): ServiceUsage {
  const invocations = latenciesMs.length + unmeasured;
  const totalLatencyMs = latenciesMs.reduce((sum, ms) => sum + ms, 0);
  const errorRate = invocations === 0 ? 0 : failures / invocations;
  return {
    invocations,
    totalLatencyMs,
    averageLatencyMs: latenciesMs.length === 0 ? 0 : totalLatencyMs / latenciesMs.length,
    latencyMs: percentiles(latenciesMs),
    successRate: 1 - errorRate,
    errorRate,
  };
}

const totals = ({ input, output }: TurnTally): TokenTotals => ({
  inputTokens: input,
  outputTokens: output,
  totalTokens: input + output,
});

const byTokens = <K>(map: Map<K, TurnTally>): [K, TurnTally][] =>
  [...map].sort(([, a], [, b]) => b.input + b.output - (a.input + a.output));

function hourRows(hours: Map<number, TurnTally>): HourUsage[] {
  return Array.from({ length: 24 }, (_, hour) => {
    const tally = hours.get(hour) ?? newTurns();
    return { hour, invocations: tally.runtime.latenciesMs.length, tokens: totals(tally) };
  });
}

/** Adds events up to a summary, one after another, so that no period is too long to be held. */
export function createSummary(period: UsagePeriod) {
  const all = newTurns();
  const agents = new Map<string, TurnTally>();
  const users = new Map<string, TurnTally>();
  const hours = new Map<number, TurnTally>();
  const services = new Map<UsageServiceName, CallTally>(USAGE_SERVICES.map((name) => [name, newCalls()]));
  const service = (name: UsageServiceName) => entry(services, name, newCalls);
  let estimatedTokens = 0;
  let conversations = 0;
  services.set('RUNTIME', all.runtime);

  /** Every tally a turn's tokens belong in. */
  const talliesOf = ({ turnId, agentId, userId }: Pick<TurnEvent, 'turnId' | 'agentId' | 'userId'>) => [
    all,
    entry(agents, agentId, newTurns),
    entry(users, userId, newTurns),
    entry(hours, new Date(ulidTime(turnId)).getUTCHours(), newTurns),
  ];

  function takeTokens(
    tally: TurnTally,
    { inputTokens, outputTokens }: Pick<TurnEvent, 'inputTokens' | 'outputTokens'>,
  ) {
    tally.input += inputTokens;
    tally.output += outputTokens;
  }

  function takeTurn(event: TurnEvent) {
    for (const tally of talliesOf(event)) {
      takeTokens(tally, event);
      addTurn(tally, event);
    }
    estimatedTokens += event.estimatedTokens;
    if (event.first) conversations++;
    addCalls(service('MEMORY'), event.memory);
    addCalls(service('KNOWLEDGE_BASE'), event.knowledgeBase);
    addCalls(service('ACTION_GROUP'), event.actionGroup);
    service('OBSERVABILITY').unmeasured += event.traces;
  }

  return {
    take(event: UsageEvent) {
      if (event.kind === 'TURN') takeTurn(event);
      else if (event.kind === 'LATE_TOKENS') {
        for (const tally of talliesOf(event)) takeTokens(tally, event);
        estimatedTokens += event.estimatedTokens;
      } else service('IDENTITY').latenciesMs.push(event.latencyMs);
    },
    total: (): UsageSummary => ({
      ...period,
      agents: serviceUsage(all.runtime),
      conversations: {
        conversations,
        turns: all.turns,
        uniqueUsers: users.size,
        turnsPerConversation: conversations === 0 ? 0 : all.turns / conversations,
      },
      tokens: totals(all),
      estimatedTokens,
      byAgent: byTokens(agents).map(([agentId, tally]) => {
        const { invocations, averageLatencyMs, errorRate } = serviceUsage(tally.runtime);
        return { agentId, invocations, averageLatencyMs, errorRate, tokens: totals(tally) };
      }),
      users: byTokens(users).map(([userId, tally]) => ({ userId, turns: tally.turns, tokens: totals(tally) })),
      byHourOfDay: hourRows(hours),
      byService: USAGE_SERVICES.map((name) => ({ service: name, usage: serviceUsage(service(name)) })),
    }),
  };
}
