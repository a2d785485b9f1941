import {
  InvokeAgentCommand,
  type BedrockAgentRuntimeClient,
  type ResponseStream,
} from '@aws-sdk/client-bedrock-agent-runtime';
import type { AgentDefinition } from '../../agents/model.ts';
import type { AnswerPart, AnswerSource, Question } from '../../conversations/ports.ts';
import type { Clock } from '../../kernel/clock.ts';
import { AppError } from '../../kernel/errors.ts';
import { createEventReader } from './events.ts';
import { agentFault } from './faults.ts';
import { createIsolationCheck } from './isolation.ts';
import { invokeAgentInput } from './request.ts';

export interface BedrockAgentsDependencies {
  readonly client: BedrockAgentRuntimeClient;
  readonly definitionOf: (agentId: string) => AgentDefinition | null;
  readonly clock: Clock;
}

/** Answers by Agents for Amazon Bedrock (InvokeAgent). */
export function createBedrockAgents({ client, definitionOf, clock }: BedrockAgentsDependencies): AnswerSource {
  /** The call's events. Leaving the iteration at any point ends the call itself, which `break` alone would not. */
  async function* invoke(
    agent: AgentDefinition,
    question: Question,
    signal: AbortSignal,
  ): AsyncGenerator<ResponseStream> {
    const left = new AbortController();
    const abortSignal = AbortSignal.any([signal, left.signal]);
    try {
      const command = new InvokeAgentCommand(invokeAgentInput(agent, question));
      const { completion } = await client.send(command, { abortSignal });
      yield* completion ?? [];
      abortSignal.throwIfAborted(); // never take an aborted stream for one that has ended
    } catch (error) {
      throw agentFault(error);
    } finally {
      left.abort();
    }
  }

  return {
    async *answer(question, signal): AsyncGenerator<AnswerPart> {
      const agent = definitionOf(question.agentId);
      if (!agent) {
        throw new AppError('AGENT_UNAVAILABLE', 'This agent is no longer configured.', { retryable: false });
      }
      const reader = createEventReader(createIsolationCheck(question), clock);
      yield { type: 'attempt' };
      try {
        for await (const event of invoke(agent, question, signal)) yield* reader.read(event);
      } catch (error) {
        yield* reader.openCalls();
        throw error;
      }
      yield* reader.lastText();
      yield* reader.openCalls();
    },
  };
}
