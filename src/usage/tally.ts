import { ulidTime } from '../kernel/ids.ts';
import {
  USAGE_SERVICES,
  type LateTokensEvent,
  type ModelTokens,
  type ServiceCalls,
  type SignInEvent,
  type TurnEvent,
  type UsageEvent,
  type UsageServiceName,
} from './model.ts';
import { bucketOf, type LatencySketch } from '../kernel/latency-sketch.ts';

/** Calls of one service. */
export interface CallCounters {
  calls: number;
  failures: number;
  /** Those of them whose latency is known, and the sum of it. */
  measured: number;
  latencyMs: number;
  sketch: LatencySketch;
}

export interface TokenCounters {
  input: number;
  output: number;
}

export interface AgentCounters extends TokenCounters {
  invocations: number;
  failures: number;
  latencyMs: number;
}

export interface ModelCounters extends TokenCounters {
  estimated: number;
  /** What it cost, in billionths of a dollar, and the tokens no price is known for. */
  nanoUsd: number;
  unpriced: number;
}

/** Calls of one knowledge base or action group. */
export interface TargetCounters {
  calls: number;
  failures: number;
  measured: number;
  latencyMs: number;
  /** Passages that came back. */
  results: number;
}

export interface UserCounters extends TokenCounters {
  turns: number;
}

/** The sums of a period: counters within counters and nothing else, so that periods are added by adding what is in them. */
export interface Tally extends TokenCounters {
  turns: number;
  /** Conversations whose first turn it was. */
  conversations: number;
  estimated: number;
  services: Record<UsageServiceName, CallCounters>;
  agents: Record<string, AgentCounters>;
  /** By the model's id; '' where nobody named it. */
  models: Record<string, ModelCounters>;
  /** By the knowledge base's id, and by the action group's name; '' where no trace named it. */
  knowledgeBases: Record<string, TargetCounters>;
  actionGroups: Record<string, TargetCounters>;
  /** By the hour of the day, UTC. */
  hours: Record<string, TokenCounters & { invocations: number }>;
  users: Record<string, UserCounters>;
}

type Counters = { [name: string]: number | Counters };

/** Adds the second to the first, and returns that. */
export function addTo<T extends object>(sum: T, more: Readonly<T>): T {
  const into = sum as Counters;
  for (const [name, value] of Object.entries(more as Counters)) {
    if (typeof value === 'number') into[name] = ((into[name] as number | undefined) ?? 0) + value;
    else into[name] = addTo((into[name] as Counters | undefined) ?? byName(), value);
  }
  return sum;
}

/** Names come from outside: none of them is to meet a property that every object has. */
const byName = <T>(): Record<string, T> => Object.create(null) as Record<string, T>;

const newCalls = (): CallCounters => ({ calls: 0, failures: 0, measured: 0, latencyMs: 0, sketch: {} });

export const emptyTally = (): Tally => ({
  turns: 0,
  conversations: 0,
  input: 0,
  output: 0,
  estimated: 0,
  services: Object.fromEntries(USAGE_SERVICES.map((name) => [name, newCalls()])) as Tally['services'],
  agents: byName(),
  models: byName(),
  knowledgeBases: byName(),
  actionGroups: byName(),
  hours: byName(),
  users: byName(),
});

function callsOf(latenciesMs: readonly number[], failures: number): CallCounters {
  const counters = { ...newCalls(), failures, calls: latenciesMs.length, measured: latenciesMs.length };
  for (const ms of latenciesMs) {
    counters.latencyMs += ms;
    addTo(counters.sketch, { [bucketOf(ms)]: 1 });
  }
  return counters;
}

const serviceCalls = ({ calls, failures, latenciesMs }: ServiceCalls) => ({ ...callsOf(latenciesMs, failures), calls });

function targetsOf({ targets }: ServiceCalls): Record<string, TargetCounters> {
  const sums = byName<TargetCounters>();
  for (const { name, ...counters } of targets) addTo(sums, named(name ?? '', counters));
  return sums;
}

const named = <T>(name: string, counters: T): Record<string, T> => ({ [name]: counters });

function modelsOf(models: readonly ModelTokens[]): Tally['models'] {
  const sums: Tally['models'] = byName();
  for (const { modelId, inputTokens: input, outputTokens: output, estimatedTokens: estimated, nanoUsd } of models) {
    const unpriced = nanoUsd === null ? input + output : 0;
    addTo(sums, named(modelId ?? '', { input, output, estimated, nanoUsd: nanoUsd ?? 0, unpriced }));
  }
  return sums;
}

/** What every event of a turn adds, the turn's own and that of its late tokens. */
function tokensOf(
  event: LateTokensEvent | TurnEvent,
  counts: { readonly turns: number; readonly invocations: number },
) {
  const { inputTokens: input, outputTokens: output, estimatedTokens: estimated, turnId, userId, models } = event;
  const hour = String(new Date(ulidTime(turnId)).getUTCHours());
  return {
    ...emptyTally(),
    ...{ input, output, estimated },
    models: modelsOf(models),
    hours: named(hour, { input, output, invocations: counts.invocations }),
    users: named(userId, { input, output, turns: counts.turns }),
  };
}

function turnTally(event: TurnEvent): Tally {
  const { inputTokens: input, outputTokens: output, agentId, latencyMs } = event;
  // A turn that never reached its agent is a turn, but no invocation.
  const invocations = event.attempts === 0 ? 0 : 1;
  const failures = invocations === 1 && event.status === 'FAILED' ? 1 : 0;
  const tally = tokensOf(event, { turns: 1, invocations });
  tally.turns = 1;
  tally.conversations = event.first ? 1 : 0;
  tally.agents = named(agentId, { input, output, invocations, failures, latencyMs: invocations * latencyMs });
  tally.knowledgeBases = targetsOf(event.knowledgeBase);
  tally.actionGroups = targetsOf(event.actionGroup);
  tally.services = {
    ...tally.services,
    RUNTIME: invocations === 1 ? callsOf([latencyMs], failures) : newCalls(),
    MEMORY: serviceCalls(event.memory),
    KNOWLEDGE_BASE: serviceCalls(event.knowledgeBase),
    ACTION_GROUP: serviceCalls(event.actionGroup),
    OBSERVABILITY: { ...newCalls(), calls: event.traces },
  };
  return tally;
}

function lateTally(event: LateTokensEvent): Tally {
  const { inputTokens: input, outputTokens: output, agentId } = event;
  const tally = tokensOf(event, { turns: 0, invocations: 0 });
  tally.agents = named(agentId, { input, output, invocations: 0, failures: 0, latencyMs: 0 });
  return tally;
}

function signInTally({ latencyMs }: SignInEvent): Tally {
  const tally = emptyTally();
  tally.services.IDENTITY = callsOf([latencyMs], 0);
  return tally;
}

/** The moment an event counts at: that of its turn, or of the sign-in. */
export const timeOf = (event: UsageEvent): number => ulidTime(event.kind === 'SIGN_IN' ? event.id : event.turnId);

/** What one event adds to every period it falls in. */
export function tallyOf(event: UsageEvent): Tally {
  switch (event.kind) {
    case 'TURN':
      return turnTally(event);
    case 'LATE_TOKENS':
      return lateTally(event);
    case 'SIGN_IN':
      return signInTally(event);
  }
}
