import type { Emulation } from './emulation.ts';
import type { InvokeRequest } from './invoke-request.ts';
import type { EmulatedAgent } from './model.ts';
import type { LookupResult, Step } from './plan.ts';
import type { Session } from './sessions.ts';

/** What the steps of one turn are about. */
export interface StepFacts {
  readonly agent: EmulatedAgent;
  readonly request: InvokeRequest;
  readonly session: Session;
  readonly question: string;
  readonly lookups: readonly LookupResult[];
  /** What the last step says: the answer, or the decision to call a tool. */
  readonly said: string;
  readonly stepsCount: number;
  readonly requestId: string;
}

const CHARS_PER_TOKEN = 4;
const PROMPT_QUESTION_MAX = 20_000;

/**
 * The model steps of one turn, with what each costs.
 *
 * Usage follows from the length of prompt and reply, so the same turn always costs the same and never nothing; totals asked for by
 * `[[emulate inputTokens=… outputTokens=…]]` are spread over the steps and add up exactly.
 */
export const modelSteps = (facts: StepFacts, emulation: Emulation): readonly Step[] => {
  const { agent, requestId, stepsCount, question } = facts;
  const inputs = emulation.inputTokens === null ? null : spread(emulation.inputTokens, stepsCount);
  const outputs = emulation.outputTokens === null ? null : spread(emulation.outputTokens, stepsCount);
  return Array.from({ length: stepsCount }, (_, index) => {
    const prompt = promptOf(facts, index);
    const said = index === stepsCount - 1 ? facts.said : planning(facts, index);
    const untoldChars = Math.max(0, question.length - PROMPT_QUESTION_MAX);
    const usage = {
      inputTokens: inputs?.[index] ?? tokensIn(prompt.length + untoldChars),
      outputTokens: outputs?.[index] ?? tokensIn(said.length),
    };
    return { traceId: `${requestId}-${index}`, model: agent.model, prompt, said, usage };
  });
};

const tokensIn = (chars: number): number => Math.max(1, Math.ceil(chars / CHARS_PER_TOKEN));

const spread = (total: number, parts: number): readonly number[] =>
  Array.from(
    { length: parts },
    (_, index) => Math.floor((total * (index + 1)) / parts) - Math.floor((total * index) / parts),
  );

/** The prompt a trace shows: like the real one it holds the session attributes, the history and what was found so far. */
const promptOf = ({ agent, request, session, question, lookups }: StepFacts, index: number): string =>
  JSON.stringify({
    system: `You are the agent '${agent.name}'. Answer only from the search results.`,
    sessionAttributes: request.sessionAttributes,
    promptSessionAttributes: request.promptSessionAttributes,
    messages: [
      ...session.turns.flatMap((turn) => [
        { role: 'user', content: turn.question },
        { role: 'assistant', content: turn.answer },
      ]),
      { role: 'user', content: question.slice(0, PROMPT_QUESTION_MAX).toWellFormed() },
    ],
    searchResults: index === 0 ? [] : lookups.flatMap(({ passages }) => passages.map(({ text }) => text)),
  });

const planning = ({ lookups }: StepFacts, index: number): string => {
  if (index > 0) return `Step ${index + 1}: I compare what was found with the question before I answer.`;
  return lookups.length === 0
    ? 'I can answer this without a knowledge base.'
    : `The question calls for documents; I search ${lookups.map(({ knowledgeBaseId }) => knowledgeBaseId).join(' and ')}.`;
};
