import { createAgentCall } from '../../src/adapters/bedrock/agent-runtime.ts';
import { createBedrockAgents } from '../../src/adapters/bedrock/answer-source.ts';
import { createBedrockClient } from '../../src/adapters/bedrock/client.ts';
import type { AgentDefinition } from '../../src/agents/model.ts';
import { newConversationId } from '../../src/conversations/model.ts';
import type { AnswerPart, AnswerSource, Question } from '../../src/conversations/ports.ts';
import { AppError } from '../../src/kernel/errors.ts';
import { systemClock, type Clock } from '../../src/kernel/clock.ts';
import { parseTenantId } from '../../src/tenancy/tenant-id.ts';
import { newUserId } from '../../src/tenancy/principal.ts';

export const AGENT: AgentDefinition = {
  id: 'support',
  name: 'Support',
  description: null,
  bedrock: { agentId: 'AGENT12345', aliasIds: ['ALIAS12345'] },
  modelId: null,
  knowledgeBaseIds: ['KBONE', 'KBTWO'],
  memory: false,
};

export function aQuestion(more: Partial<Question> = {}): Question {
  return {
    tenantId: parseTenantId('acme')!,
    userId: newUserId(0),
    conversationId: newConversationId(0),
    agentId: 'support',
    knowledgeBaseIds: ['KBONE', 'KBTWO'],
    text: 'What is the refund policy?',
    ...more,
  };
}

/** The adapter on the SDK's own client, calling `url`. */
export function bedrockAgentsAt(
  url: string,
  options: { agents?: readonly AgentDefinition[]; idleTimeoutMs?: number; clock?: Clock } = {},
) {
  const { agents = [AGENT], idleTimeoutMs = 10_000, clock = systemClock } = options;
  const credentials = { accessKeyId: 'test', secretAccessKey: 'test' };
  const client = createBedrockClient({ region: 'us-east-1', endpoint: url, credentials, idleTimeoutMs });
  const definitionOf = (id: string) => agents.find((agent) => agent.id === id) ?? null;
  const call = createAgentCall({ client, clock });
  const source = createBedrockAgents({
    call,
    definitionOf,
    clock,
    firstTextTimeoutMs: 60_000,
    turnTimeoutMs: 600_000,
    retryBaseMs: 1,
  });
  return {
    source,
    /** What one call to one alias gives, without retries and the rest. */
    oneCall: {
      answer: (question: Question, signal: AbortSignal) => call(AGENT, AGENT.bedrock.aliasIds[0], question, signal),
    },
    close: () => client.destroy(),
  };
}

/** An answer as far as it came. */
export interface Read {
  readonly parts: readonly AnswerPart[];
  readonly text: string;
  /** What it ended with, null for a normal end. */
  readonly error: AppError | null;
}

/** Reads an answer to its end, whatever that is. `onPart` sees each part as it comes. */
export async function readAnswer(
  source: AnswerSource,
  question: Question = aQuestion(),
  signal: AbortSignal = new AbortController().signal,
  onPart: (part: AnswerPart) => void = () => undefined,
): Promise<Read> {
  const parts: AnswerPart[] = [];
  let error: AppError | null = null;
  try {
    for await (const part of source.answer(question, signal)) {
      parts.push(part);
      onPart(part);
    }
  } catch (thrown) {
    if (!(thrown instanceof AppError)) throw thrown;
    error = thrown;
  }
  const text = parts.map((part) => (part.type === 'text' ? part.text : '')).join('');
  return { parts, text, error };
}
