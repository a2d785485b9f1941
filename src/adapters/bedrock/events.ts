import type {
  Citation as BedrockCitation,
  InvocationInput,
  Observation,
  PayloadPart,
  ResponseStream,
  RetrievalResultLocation,
  Trace,
  TracePart,
} from '@aws-sdk/client-bedrock-agent-runtime';
import type { Citation } from '../../conversations/model.ts';
import type { AnswerPart } from '../../conversations/ports.ts';
import type { Clock } from '../../kernel/clock.ts';
import { AppError } from '../../kernel/errors.ts';
import type { IsolationCheck } from './isolation.ts';

/** The members of a trace in which a model reports what it used. Sums over any others would count steps twice. */
const MODEL_TRACES = [
  'preProcessingTrace',
  'orchestrationTrace',
  'postProcessingTrace',
  'routingClassifierTrace',
] as const;

/** The members of a trace in which an agent calls something else. */
const CALL_TRACES = ['orchestrationTrace', 'routingClassifierTrace'] as const;

/** What is called, and what came back. */
interface Calls {
  readonly invocationInput?: InvocationInput | undefined;
  readonly observation?: Observation | undefined;
}

type ServiceName = Extract<AnswerPart, { type: 'activity' }>['service'];

interface OpenCall {
  readonly service: ServiceName;
  /** The knowledge base's id, or the action group's name. */
  readonly name: string | null;
  readonly startedAt: number;
}

const SERVICE_OF: Readonly<Record<string, ServiceName>> = {
  KNOWLEDGE_BASE: 'KNOWLEDGE_BASE',
  ACTION_GROUP: 'ACTION_GROUP',
  ACTION_GROUP_CODE_INTERPRETER: 'ACTION_GROUP',
};

function sourceOf(location: RetrievalResultLocation | undefined): string | null {
  if (!location) return null;
  const { s3Location, webLocation, confluenceLocation, salesforceLocation, sharePointLocation } = location;
  const address =
    s3Location?.uri ??
    webLocation?.url ??
    confluenceLocation?.url ??
    salesforceLocation?.url ??
    sharePointLocation?.url;
  return address ?? location.kendraDocumentLocation?.uri ?? location.customDocumentLocation?.id ?? null;
}

function citationsOf(citations: readonly BedrockCitation[]): Citation[] {
  return citations.flatMap(({ retrievedReferences = [] }) =>
    retrievedReferences.map(({ content, location, metadata }) => {
      const title = metadata?.['title'];
      return {
        text: content?.text ?? '',
        source: sourceOf(location),
        title: typeof title === 'string' ? title : null,
      };
    }),
  );
}

/** What a trace names its step by: each of its members holds one part of a step, or is one. */
function traceIdOf(trace: Trace): string | null {
  const parts = Object.values(trace).flatMap((member: object) => [member, ...(Object.values(member) as unknown[])]);
  for (const part of parts) {
    const traceId: unknown = part instanceof Object && 'traceId' in part ? part.traceId : null;
    if (typeof traceId === 'string') return traceId;
  }
  return null;
}

/**
 * Turns the events of InvokeAgent into the parts of an answer. Traces hold prompts and passages: what is counted of them is
 * taken here, and nothing else of them leaves.
 */
export function createEventReader(isolation: IsolationCheck, clock: Clock) {
  // A character may be split over two chunks.
  const decoder = new TextDecoder();
  const models = new Map<string, string>();
  const calls = new Map<string, OpenCall>();
  const cited = new Set<string>();

  function* read(event: ResponseStream): Generator<AnswerPart> {
    if (event.chunk) yield* readChunk(event.chunk);
    else if (event.trace) yield* readTrace(event.trace);
    else if (event.returnControl) {
      throw new AppError('AGENT_UNAVAILABLE', 'The agent asked for a tool that this installation does not offer.', {
        retryable: false,
      });
    }
  }

  function* readChunk({ bytes, attribution }: PayloadPart): Generator<AnswerPart> {
    const citations = attribution?.citations ?? [];
    for (const { retrievedReferences } of citations) isolation.references(retrievedReferences);
    yield { type: 'text', text: decoder.decode(bytes, { stream: true }) };
    for (const citation of citationsOf(citations)) {
      const name = JSON.stringify(citation);
      if (cited.has(name)) continue;
      cited.add(name);
      yield { type: 'citation', citation };
    }
  }

  function* readTrace({ trace, eventTime }: TracePart): Generator<AnswerPart> {
    yield { type: 'trace', traceId: trace ? traceIdOf(trace) : null };
    if (!trace) return;
    yield* readModelSteps(trace);
    const at = eventTime?.getTime() ?? clock.now();
    for (const member of CALL_TRACES) yield* readCalls(trace[member] ?? {}, at);
  }

  function* readModelSteps(trace: Trace): Generator<AnswerPart> {
    for (const member of MODEL_TRACES) {
      const step = trace[member];
      if (!step) continue;
      if ('modelInvocationInput' in step && step.modelInvocationInput) {
        const { traceId = '', text = '', foundationModel } = step.modelInvocationInput;
        if (foundationModel) models.set(traceId, foundationModel);
        yield { type: 'step', inputCharacters: text.length, modelId: foundationModel ?? null };
      }
      if ('modelInvocationOutput' in step && step.modelInvocationOutput?.metadata?.usage) {
        const { traceId = '', metadata } = step.modelInvocationOutput;
        const { inputTokens = 0, outputTokens = 0 } = metadata.usage ?? {};
        yield { type: 'usage', inputTokens, outputTokens, modelId: models.get(traceId) ?? null };
      }
    }
  }

  function* readCalls({ invocationInput, observation }: Calls, at: number): Generator<AnswerPart> {
    if (invocationInput) yield* begin(invocationInput, at);
    if (observation) yield* end(observation, at);
  }

  function* begin(
    { traceId = '', invocationType, knowledgeBaseLookupInput, actionGroupInvocationInput }: InvocationInput,
    at: number,
  ): Generator<AnswerPart> {
    isolation.knowledgeBase(knowledgeBaseLookupInput?.knowledgeBaseId);
    const service = SERVICE_OF[invocationType ?? ''];
    const name = knowledgeBaseLookupInput?.knowledgeBaseId ?? actionGroupInvocationInput?.actionGroupName ?? null;
    if (service) calls.set(`${service} ${traceId}`, { service, name, startedAt: at });
    if (service === 'ACTION_GROUP') yield { type: 'action' };
  }

  function* end({ traceId = '', type, knowledgeBaseLookupOutput }: Observation, at: number): Generator<AnswerPart> {
    isolation.references(knowledgeBaseLookupOutput?.retrievedReferences);
    const service = SERVICE_OF[type ?? ''];
    if (!service) return;
    const { name, startedAt } = calls.get(`${service} ${traceId}`) ?? { name: null, startedAt: null };
    calls.delete(`${service} ${traceId}`);
    const latencyMs = startedAt === null ? null : Math.max(0, at - startedAt);
    const results = knowledgeBaseLookupOutput?.retrievedReferences?.length ?? 0;
    yield { type: 'activity', service, name, latencyMs, results, failed: false };
  }

  /** Calls that never came back have failed, however the stream ended. */
  function* openCalls(): Generator<AnswerPart> {
    for (const { service, name, startedAt } of calls.values()) {
      const latencyMs = Math.max(0, clock.now() - startedAt);
      yield { type: 'activity', service, name, latencyMs, results: 0, failed: true };
    }
    calls.clear();
  }

  /** What is left of the text when the stream has ended. */
  function* lastText(): Generator<AnswerPart> {
    const text = decoder.decode();
    if (text !== '') yield { type: 'text', text };
  }

  return { read, openCalls, lastText };
}

export type EventReader = ReturnType<typeof createEventReader>;
