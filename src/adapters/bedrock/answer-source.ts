import type { AgentDefinition } from '../../agents/model.ts';
import type { AnswerPart, AnswerSource } from '../../conversations/ports.ts';
import type { Clock } from '../../kernel/clock.ts';
import { AppError } from '../../kernel/errors.ts';
import { createEventQueue } from '../../kernel/event-queue.ts';
import { createBeginning, type BeginningDependencies } from './beginning.ts';
import { createCircuit, type Circuit } from './circuit.ts';
import { AgentFault, stopped, tookTooLong } from './faults.ts';

export interface BedrockAgentsDependencies extends BeginningDependencies {
  readonly definitionOf: (agentId: string) => AgentDefinition | null;
  readonly clock: Clock;
  /** How long a whole answer may take, retries included, in milliseconds. */
  readonly turnTimeoutMs: number;
}

/**
 * Answers by agents of Amazon Bedrock in one region, and copes with their failures: retries, other aliases, timeouts, and a circuit
 * breaker for each agent.
 *
 * The breaker goes around all that is tried for one answer, not around each call: an alias that is down must not cut off the one
 * that stands in for it. It waits for the beginning only, as the retries do: a stream may go on for minutes.
 */
export function createBedrockAgents(deps: BedrockAgentsDependencies): AnswerSource {
  const { definitionOf, clock, turnTimeoutMs } = deps;
  const begin = createBeginning(deps);
  const circuits = new Map<string, Circuit>();

  function circuitOf({ bedrock: { agentId } }: AgentDefinition): Circuit {
    const circuit = circuits.get(agentId) ?? createCircuit();
    circuits.set(agentId, circuit);
    return circuit;
  }

  return {
    async *answer(question, signal): AsyncGenerator<AnswerPart> {
      const agent = definitionOf(question.agentId);
      if (!agent) {
        throw new AppError('AGENT_UNAVAILABLE', 'This agent is no longer configured.', { retryable: false });
      }
      const ended = new AbortController();
      const forget = clock.after(turnTimeoutMs, () => ended.abort(tookTooLong()));
      const stop = AbortSignal.any([signal, ended.signal]);
      try {
        if (stop.aborted) throw stopped(stop);
        const beginning = createEventQueue<AnswerPart>({ onEnd: () => undefined });
        stop.addEventListener('abort', () => beginning.fail(stopped(stop))); // a pause before a retry is not waited for
        const begun = circuitOf(agent).guard(question.tenantId, stop, () =>
          begin(agent, question, stop, (part) => beginning.push(part)),
        );
        begun.then(() => beginning.end(), beginning.fail);
        yield* beginning;
        yield* await begun;
        if (stop.aborted) throw stopped(stop); // never take an answer that was stopped for one that has ended
      } catch (error) {
        throw stop.aborted && error instanceof AgentFault ? stopped(stop) : error;
      } finally {
        forget();
        ended.abort();
      }
    },
  };
}
