import {
  InvokeAgentCommand,
  type BedrockAgentRuntimeClient,
  type InvokeAgentCommandOutput,
} from '@aws-sdk/client-bedrock-agent-runtime';
import type { AgentDefinition } from '../../agents/model.ts';
import type { AnswerPart, Question } from '../../conversations/ports.ts';
import type { Clock } from '../../kernel/clock.ts';
import { createEventReader, type EventReader } from './events.ts';
import { agentFault } from './faults.ts';
import { createIsolationCheck } from './isolation.ts';
import { invokeAgentInput } from './request.ts';

/**
 * Asks one alias of an agent, once. Leaving the iteration, or aborting `signal`, ends the call itself.
 * @throws AGENT_UNAVAILABLE (an `AgentFault`, unless the agent wants what this installation does not offer), ISOLATION_VIOLATION.
 */
export type AgentCall = (
  agent: AgentDefinition,
  aliasId: string,
  question: Question,
  signal: AbortSignal,
) => AsyncIterableIterator<AnswerPart>;

export interface AgentCallDependencies {
  readonly client: BedrockAgentRuntimeClient;
  readonly clock: Clock;
}

/** What the call is to the service: its name for it, the agent's session, and the memory that it was begun with. */
function* acceptedAs(answer: Partial<InvokeAgentCommandOutput>): Generator<AnswerPart> {
  const { $metadata: metadata, sessionId, memoryId } = answer;
  if (metadata?.requestId) yield { type: 'request', requestId: metadata.requestId, sessionId: sessionId ?? null };
  if (memoryId) {
    // Nothing says how long it took, nor what it held.
    yield { type: 'activity', service: 'MEMORY', name: memoryId, latencyMs: null, results: 0, failed: false };
  }
}

/** Calls Agents for Amazon Bedrock (InvokeAgent). */
export function createAgentCall({ client, clock }: AgentCallDependencies): AgentCall {
  /** What the call brings. Leaving the iteration at any point ends the call itself, which `break` alone would not. */
  async function* invoke(
    reader: EventReader,
    ...[agent, aliasId, question, signal]: Parameters<AgentCall>
  ): AsyncGenerator<AnswerPart> {
    const left = new AbortController();
    const abortSignal = AbortSignal.any([signal, left.signal]);
    try {
      const command = new InvokeAgentCommand(invokeAgentInput(agent, aliasId, question));
      const answered = await client.send(command, { abortSignal });
      yield* acceptedAs(answered);
      for await (const event of answered.completion ?? []) yield* reader.read(event);
      abortSignal.throwIfAborted(); // never take an aborted stream for one that has ended
    } catch (error) {
      yield* acceptedAs(error as Partial<InvokeAgentCommandOutput>); // a refusal has a name too
      throw agentFault(error);
    } finally {
      left.abort();
    }
  }

  return async function* call(agent, aliasId, question, signal) {
    const reader = createEventReader(createIsolationCheck(question), clock);
    yield { type: 'attempt', aliasId };
    try {
      yield* invoke(reader, agent, aliasId, question, signal);
    } catch (error) {
      yield* reader.openCalls();
      throw error;
    }
    yield* reader.lastText();
    yield* reader.openCalls();
  };
}
