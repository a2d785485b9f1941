import type { Answer } from './answer.ts';
import type { Chunk } from './chunking.ts';
import type { JsonObject } from './json-fields.ts';
import type { Passage } from './model.ts';
import { metadataOf } from './retrieval.ts';

/** What one model step reports to have cost. */
export interface Usage {
  readonly inputTokens: number;
  readonly outputTokens: number;
}

/** An orchestration trace, and the usage it reports if it does. */
export interface PlannedTrace {
  readonly kind: 'trace';
  readonly orchestrationTrace: JsonObject;
  readonly usage?: Usage;
  /** The look-up whose result it is. */
  readonly lookup?: LookupResult;
  /** The action group whose result it is. */
  readonly action?: string;
}

/** Text, with what must be sent right before it. */
export interface PlannedChunk {
  readonly bytes: Buffer;
  readonly citations: readonly JsonObject[];
  readonly lead: readonly PlannedTrace[];
}

/** The end of a turn that hands a tool call to the client. */
export interface PlannedReturnControl {
  readonly kind: 'returnControl';
  readonly invocationId: string;
  readonly invocationInputs: readonly JsonObject[];
}

/** Everything one invocation would send if nothing went wrong, in order. */
export interface Plan {
  readonly before: readonly PlannedTrace[];
  readonly chunks: readonly PlannedChunk[];
  readonly after: readonly (PlannedTrace | PlannedReturnControl)[];
}

/** One knowledge-base lookup and what it brought back. */
export interface LookupResult {
  readonly knowledgeBaseId: string;
  readonly passages: readonly Passage[];
}

/** One model step: what the model was shown, what it said and what that cost. */
export interface Step {
  readonly traceId: string;
  readonly model: string;
  readonly prompt: string;
  readonly said: string;
  readonly usage: Usage;
}

const trace = (orchestrationTrace: JsonObject): PlannedTrace => ({ kind: 'trace', orchestrationTrace });

const asked = ({ traceId, model, prompt }: Step): PlannedTrace =>
  trace({ modelInvocationInput: { traceId, type: 'ORCHESTRATION', text: prompt, foundationModel: model } });

const replied = ({ traceId, said, usage }: Step): PlannedTrace => ({
  ...trace({ modelInvocationOutput: { traceId, rawResponse: { content: said }, metadata: { usage } } }),
  usage,
});

const reasoned = ({ traceId, said }: Step): PlannedTrace => trace({ rationale: { traceId, text: said } });

const wholeStep = (step: Step): readonly PlannedTrace[] => [asked(step), replied(step), reasoned(step)];

const reference = (passage: Passage): JsonObject => ({
  content: { type: 'TEXT', text: passage.text },
  location: { type: 'S3', s3Location: { uri: passage.uri } },
  metadata: metadataOf(passage),
});

const lookedUp = (traceId: string, text: string, lookup: LookupResult): PlannedTrace[] => [
  trace({
    invocationInput: {
      traceId,
      invocationType: 'KNOWLEDGE_BASE',
      knowledgeBaseLookupInput: { text, knowledgeBaseId: lookup.knowledgeBaseId },
    },
  }),
  {
    ...trace({
      observation: {
        traceId,
        type: 'KNOWLEDGE_BASE',
        knowledgeBaseLookupOutput: { retrievedReferences: lookup.passages.map(reference) },
      },
    }),
    lookup,
  },
];

/** A tool that the agent runs by itself, as a Lambda function. */
const ran = (traceId: string, actionGroupName: string): PlannedTrace[] => [
  trace({
    invocationInput: {
      traceId,
      invocationType: 'ACTION_GROUP',
      actionGroupInvocationInput: { actionGroupName, function: 'run', executionType: 'LAMBDA', parameters: [] },
    },
  }),
  {
    ...trace({ observation: { traceId, type: 'ACTION_GROUP', actionGroupInvocationOutput: { text: 'Done.' } } }),
    action: actionGroupName,
  },
];

// The service does not document whether `end` counts the last character; its published examples do.
const citation = (text: string, start: number, end: number, passages: readonly Passage[]): JsonObject => ({
  generatedResponsePart: { textResponsePart: { text: text.slice(start, end), span: { start, end: end - 1 } } },
  retrievedReferences: passages.map(reference),
});

/** What `planAnswer` puts in order. */
export interface AnswerParts {
  readonly question: string;
  /** At least one; the last is the one that writes the answer. */
  readonly steps: readonly Step[];
  readonly lookups: readonly LookupResult[];
  readonly answer: Answer;
  readonly chunks: readonly Chunk[];
  readonly toolText: string | null;
  /** An action group that the agent calls by itself on the way. */
  readonly action: string | null;
  /** A passage the caller has no right to, slipped in after so many chunks. */
  readonly foreign: { readonly lookup: LookupResult; readonly after: number } | null;
}

/**
 * A turn that answers: planning steps and lookups, then the last step with the text inside it.
 *
 * The chunks stand between the last step's input and its output, as with `streamFinalResponse`: a stream that is cut leaves a step
 * whose usage was never reported.
 */
export const planAnswer = (parts: AnswerParts): Plan => {
  const { steps, toolText, question, lookups, action, answer } = parts;
  const [last, first] = [steps.at(-1), steps[0]];
  if (!last || !first) throw new Error('an answer needs at least one step');
  const [opening, ...further] = steps.slice(0, -1);
  const searched = lookups.flatMap((lookup) => lookedUp(first.traceId, question, lookup));
  return {
    before: [
      ...(toolText === null ? [] : [toolObserved(first.traceId, toolText)]),
      ...(opening ? wholeStep(opening) : []),
      ...searched,
      ...(action === null ? [] : ran(first.traceId, action)),
      ...further.flatMap(wholeStep),
      asked(last),
    ],
    chunks: planChunks(parts, last.traceId),
    after: [
      replied(last),
      trace({ observation: { traceId: last.traceId, type: 'FINISH', finalResponse: { text: answer.text } } }),
    ],
  };
};

const toolObserved = (traceId: string, text: string): PlannedTrace =>
  trace({ observation: { traceId, type: 'ACTION_GROUP', actionGroupInvocationOutput: { text } } });

const planChunks = ({ answer, chunks, foreign, question }: AnswerParts, traceId: string): readonly PlannedChunk[] => {
  const foreignAt = foreign ? Math.min(foreign.after, chunks.length - 1) : -1;
  return chunks.map(({ bytes, start, end }, index) => {
    // A citation travels with the chunk that completes the cited text.
    const own = answer.cited
      .filter((part) => part.end > start && part.end <= end)
      .map((part) => citation(answer.text, part.start, part.end, part.passages));
    if (!foreign || index !== foreignAt) return { bytes, citations: own, lead: [] };
    const betrayed = citation(answer.text, start, Math.max(end, start + 1), foreign.lookup.passages);
    return { bytes, citations: [...own, betrayed], lead: lookedUp(traceId, question, foreign.lookup) };
  });
};

/** The action group every emulated tool belongs to. */
export const ACTION_GROUP = 'EmulatedTools';

/** A turn that ends by asking the client to run a tool. */
export const planToolCall = (steps: readonly Step[], tool: string, invocationId: string, question: string): Plan => {
  const parameters = [{ name: 'question', type: 'string', value: question }];
  return {
    before: steps.flatMap(wholeStep),
    chunks: [],
    after: [
      trace({
        invocationInput: {
          traceId: steps.at(-1)?.traceId,
          invocationType: 'ACTION_GROUP',
          actionGroupInvocationInput: {
            actionGroupName: ACTION_GROUP,
            function: tool,
            executionType: 'RETURN_CONTROL',
            invocationId,
            parameters,
          },
        },
      }),
      {
        kind: 'returnControl',
        invocationId,
        invocationInputs: [
          {
            functionInvocationInput: {
              actionGroup: ACTION_GROUP,
              function: tool,
              actionInvocationType: 'RESULT',
              parameters,
            },
          },
        ],
      },
    ],
  };
};
