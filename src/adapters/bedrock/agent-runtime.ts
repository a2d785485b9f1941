import {
  InvokeAgentCommand,
  type BedrockAgentRuntimeClient,
  type ResponseStream,
} from '@aws-sdk/client-bedrock-agent-runtime';
import type { AgentDefinition } from '../../agents/model.ts';
import type { AnswerPart, Question } from '../../conversations/ports.ts';
import type { Clock } from '../../kernel/clock.ts';
import { createEventReader } from './events.ts';
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

/** Calls Agents for Amazon Bedrock (InvokeAgent). */
export function createAgentCall({ client, clock }: AgentCallDependencies): AgentCall {
  /** The call's events. Leaving the iteration at any point ends the call itself, which `break` alone would not. */
  async function* invoke(...[agent, aliasId, question, signal]: Parameters<AgentCall>): AsyncGenerator<ResponseStream> {
    const left = new AbortController();
    const abortSignal = AbortSignal.any([signal, left.signal]);
    try {
      const command = new InvokeAgentCommand(invokeAgentInput(agent, aliasId, question));
      const { completion } = await client.send(command, { abortSignal });
      yield* completion ?? [];
      abortSignal.throwIfAborted(); // never take an aborted stream for one that has ended
    } catch (error) {
      throw agentFault(error);
    } finally {
      left.abort();
    }
  }

  return async function* call(agent, aliasId, question, signal) {
    const reader = createEventReader(createIsolationCheck(question), clock);
    yield { type: 'attempt', aliasId };
    try {
      for await (const event of invoke(agent, aliasId, question, signal)) yield* reader.read(event);
    } catch (error) {
      yield* reader.openCalls();
      throw error;
    }
    yield* reader.lastText();
    yield* reader.openCalls();
  };
}
