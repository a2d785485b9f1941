import type { ModelUse, TokenUsage } from './model.ts';
import type { AnswerPart } from './ports.ts';

/** Characters per token assumed where a model never said what it used. English prose averages about four. */
const CHARACTERS_PER_TOKEN = 4;

/** The calls of one thing of a service: of one knowledge base, action group or memory. */
export interface TargetCalls {
  /** A knowledge base's or memory's id, or an action group's name; null where no trace named it. */
  readonly name: string | null;
  readonly calls: number;
  readonly failures: number;
  /** Those of them whose latency is known, and the sum of it. */
  readonly measured: number;
  readonly latencyMs: number;
  /** Passages they brought back. */
  readonly results: number;
}

/** The calls to one service that ended during a turn. */
export interface ServiceCalls {
  readonly calls: number;
  readonly failures: number;
  /** In milliseconds, of the calls whose latency is known. */
  readonly latenciesMs: readonly number[];
  /** The same calls by what was called, in the order in which it was first. */
  readonly targets: readonly TargetCalls[];
}

/** What one turn used, whatever became of it. */
export interface TurnMetering {
  /** Calls made to the agent; 0: the turn never reached it. */
  readonly attempts: number;
  /** The alias of the agent that answered, or was tried last; null: none was. */
  readonly aliasId: string | null;
  readonly inputTokens: number;
  readonly outputTokens: number;
  /** The part of both that was estimated from characters, because a step never reported. */
  readonly estimatedTokens: number;
  /** The same tokens by model, in the order in which the models were first used. */
  readonly models: readonly ModelUse[];
  /** The model that was named last. */
  readonly modelId: string | null;
  readonly latencyMs: number;
  /** From the start of the turn to the first text; null when none came. */
  readonly firstTextMs: number | null;
  /** What Bedrock names the calls to the agent by, for its support: of the attempts that it answered. */
  readonly requestIds: readonly string[];
  /** The agent's own session. */
  readonly sessionId: string | null;
  /** Trace events, and what they name their steps by: the first hundred. */
  readonly traces: number;
  readonly traceIds: readonly string[];
  readonly memory: ServiceCalls;
  readonly knowledgeBase: ServiceCalls;
  readonly actionGroup: ServiceCalls;
}

const NO_CALLS: ServiceCalls = { calls: 0, failures: 0, latenciesMs: [], targets: [] };
const TRACE_IDS_MAX = 100;

/** A turn that never reached an agent. */
export const NOTHING_USED: TurnMetering = {
  attempts: 0,
  aliasId: null,
  inputTokens: 0,
  outputTokens: 0,
  estimatedTokens: 0,
  models: [],
  modelId: null,
  latencyMs: 0,
  firstTextMs: null,
  requestIds: [],
  sessionId: null,
  traces: 0,
  traceIds: [],
  memory: NO_CALLS,
  knowledgeBase: NO_CALLS,
  actionGroup: NO_CALLS,
};

/** Adds up what an answer uses as its parts arrive. Both arguments of `total` and `take` that are times are milliseconds since the turn began. */
export interface TurnMeterReading {
  take(part: AnswerPart, elapsedMs: number): void;
  /** The sum so far. A step that has begun and not reported is estimated in it. */
  total(elapsedMs: number): TurnMetering;
}

/** A metering with more tokens of one model. */
function withTokens(sum: TurnMetering, more: ModelUse): TurnMetering {
  const add = (to: Omit<ModelUse, 'modelId'>) => ({
    inputTokens: to.inputTokens + more.inputTokens,
    outputTokens: to.outputTokens + more.outputTokens,
    estimatedTokens: to.estimatedTokens + more.estimatedTokens,
  });
  const known = sum.models.some(({ modelId }) => modelId === more.modelId);
  const models = known
    ? sum.models.map((use) => (use.modelId === more.modelId ? { ...use, ...add(use) } : use))
    : [...sum.models, more];
  return { ...sum, ...add(sum), models };
}

const estimate = (characters: number): number => Math.ceil(characters / CHARACTERS_PER_TOKEN);

function addCall(sum: ServiceCalls, part: Extract<AnswerPart, { type: 'activity' }>): ServiceCalls {
  const { name, latencyMs, results } = part;
  const failures = part.failed ? 1 : 0;
  const before = sum.targets.find((target) => target.name === name);
  const target = {
    name,
    calls: (before?.calls ?? 0) + 1,
    failures: (before?.failures ?? 0) + failures,
    measured: (before?.measured ?? 0) + (latencyMs === null ? 0 : 1),
    latencyMs: (before?.latencyMs ?? 0) + (latencyMs ?? 0),
    results: (before?.results ?? 0) + results,
  };
  return {
    calls: sum.calls + 1,
    failures: sum.failures + failures,
    latenciesMs: latencyMs === null ? sum.latenciesMs : [...sum.latenciesMs, latencyMs],
    targets: before ? sum.targets.map((each) => (each === before ? target : each)) : [...sum.targets, target],
  };
}

/** With one more trace event. Its id is kept once, and no more of them than a row should hold. */
function withTrace(sum: TurnMetering, traceId: string | null): TurnMetering {
  const { traces, traceIds } = sum;
  const known = traceId === null || traceIds.includes(traceId) || traceIds.length === TRACE_IDS_MAX;
  return { ...sum, traces: traces + 1, traceIds: known ? traceIds : [...traceIds, traceId] };
}

const SERVICE_FIELD = { MEMORY: 'memory', KNOWLEDGE_BASE: 'knowledgeBase', ACTION_GROUP: 'actionGroup' } as const;

export function readMeter(questionCharacters: number): TurnMeterReading {
  let sum = NOTHING_USED;
  /** Whether the agent reports its steps in this attempt. If it does, text outside a step belongs to one that has reported. */
  let traced = false;
  /** The step that has not reported yet; without traces, the whole attempt is one. */
  let open: { readonly inputCharacters: number; readonly outputCharacters: number } | null = null;

  function withOpenStep(into: TurnMetering): TurnMetering {
    if (open === null) return into;
    const input = estimate(open.inputCharacters);
    const output = estimate(open.outputCharacters);
    const use = { inputTokens: input, outputTokens: output, estimatedTokens: input + output };
    return withTokens(into, { modelId: into.modelId, ...use });
  }

  function takeText(text: string, elapsedMs: number) {
    if (text === '') return;
    sum = { ...sum, firstTextMs: sum.firstTextMs ?? elapsedMs };
    if (open === null && !traced) open = { inputCharacters: questionCharacters, outputCharacters: 0 };
    if (open !== null) open = { ...open, outputCharacters: open.outputCharacters + text.length };
  }

  return {
    take(part, elapsedMs) {
      switch (part.type) {
        case 'attempt':
          sum = { ...withOpenStep(sum), attempts: sum.attempts + 1, aliasId: part.aliasId };
          open = null;
          traced = false;
          break;
        case 'text':
          takeText(part.text, elapsedMs);
          break;
        case 'step':
          sum = { ...withOpenStep(sum), modelId: part.modelId ?? sum.modelId };
          open = { inputCharacters: part.inputCharacters, outputCharacters: 0 };
          traced = true;
          break;
        case 'usage':
          sum = withTokens(
            { ...sum, modelId: part.modelId ?? sum.modelId },
            {
              modelId: part.modelId ?? sum.modelId,
              inputTokens: part.inputTokens,
              outputTokens: part.outputTokens,
              estimatedTokens: 0,
            },
          );
          open = null;
          traced = true;
          break;
        case 'activity': {
          const field = SERVICE_FIELD[part.service];
          sum = { ...sum, [field]: addCall(sum[field], part) };
          break;
        }
        case 'trace':
          sum = withTrace(sum, part.traceId);
          break;
        case 'request':
          sum = { ...sum, requestIds: [...sum.requestIds, part.requestId], sessionId: part.sessionId ?? sum.sessionId };
          break;
        case 'citation':
        case 'action':
          break;
      }
    },
    total: (elapsedMs) => ({ ...withOpenStep(sum), latencyMs: elapsedMs }),
  };
}

/**
 * What a turn used whose process died: as far as it was stored, and estimated beyond that. A turn that asked its agent and
 * stored no usage is charged its question, and the text that came after the last checkpoint.
 */
export function withUnreported(
  stored: TurnMetering,
  { questionCharacters, moreCharacters }: { readonly questionCharacters: number; readonly moreCharacters: number },
): TurnMetering {
  if (stored.attempts === 0) return stored;
  const input = stored.inputTokens === 0 ? estimate(questionCharacters) : 0;
  const output = estimate(moreCharacters);
  if (input + output === 0) return stored;
  const use = { inputTokens: input, outputTokens: output, estimatedTokens: input + output };
  return withTokens(stored, { modelId: stored.modelId, ...use });
}

/** What a turn used in truth beyond what was recorded of it, by model: nothing where they agree, negative where it had been estimated too high. */
export function lateUse(whole: readonly ModelUse[], recorded: readonly ModelUse[]): readonly ModelUse[] {
  const negative = recorded.map((use) => ({
    modelId: use.modelId,
    inputTokens: -use.inputTokens,
    outputTokens: -use.outputTokens,
    estimatedTokens: -use.estimatedTokens,
  }));
  const { models } = negative.reduce(withTokens, { ...NOTHING_USED, models: whole });
  return models.filter((use) => use.inputTokens !== 0 || use.outputTokens !== 0 || use.estimatedTokens !== 0);
}

/** A turn's usage as its message shows it. */
export const tokenUsage = (metering: TurnMetering): TokenUsage => ({
  inputTokens: metering.inputTokens,
  outputTokens: metering.outputTokens,
  totalTokens: metering.inputTokens + metering.outputTokens,
  estimatedTokens: metering.estimatedTokens,
  latencyMs: metering.latencyMs,
  modelId: metering.modelId,
  estimated: metering.estimatedTokens > 0,
});
