import { ExponentialBackoff, halfJitterGenerator, handleWhen, retry, timeout, TimeoutStrategy } from 'cockatiel';
import type { AgentDefinition } from '../../agents/model.ts';
import type { AnswerPart, Question } from '../../conversations/ports.ts';
import type { AgentCall } from './agent-runtime.ts';
import { AgentFault, neverBegan, stopped } from './faults.ts';

/** How often one alias is asked again. */
const RETRIES_MAX = 2;

export interface BeginningDependencies {
  readonly call: AgentCall;
  /** How long a call may take to begin, in milliseconds. */
  readonly firstTextTimeoutMs: number;
  /** About how long to wait before asking again for the first time, in milliseconds; each time after it is twice as long. */
  readonly retryBaseMs: number;
}

/**
 * Has an agent begin its answer. Every part up to where one begins goes to `take` as it comes, those of calls that failed too:
 * what they used is billed. Returns what is left of the call that began, or ended without having begun.
 *
 * Aborting `signal` ends a call at once, and no other is made; only a pause before a retry runs to its end, with nobody waiting for it.
 *
 * @throws what the calls failed with, once nothing is left to try.
 */
export type Begin = (
  agent: AgentDefinition,
  question: Question,
  signal: AbortSignal,
  take: (part: AnswerPart) => void,
) => Promise<AsyncIterable<AnswerPart>>;

/** From here on asking again would repeat what somebody has seen, or what a tool has done. */
function isBeginning(part: AnswerPart): boolean {
  if (part.type === 'text') return part.text !== '';
  if (part.type === 'activity') return part.service === 'ACTION_GROUP';
  return part.type === 'citation' || part.type === 'action';
}

/** Reads a call up to where it begins, and returns the rest. */
async function readBeginning(call: AsyncIterableIterator<AnswerPart>, take: (part: AnswerPart) => void) {
  for (;;) {
    const next = await call.next();
    if (next.done) return call;
    take(next.value);
    if (isBeginning(next.value)) return call;
  }
}

/** The better advice of two failures: one that will pass tells more than one that will not. */
const tellingOf = (before: AgentFault | null, after: AgentFault): AgentFault =>
  before?.details['retryable'] === true && after.details['retryable'] !== true ? before : after;

/** Retries with jittered exponential backoff, the agent's other aliases, and a timeout for each call, all only until one begins. */
export function createBeginning({ call, firstTextTimeoutMs, retryBaseMs }: BeginningDependencies): Begin {
  // Cooperative: the call ends before the next one is made. The signal is not to abort when the call has begun.
  const inTime = timeout(firstTextTimeoutMs, {
    strategy: TimeoutStrategy.Cooperative,
    abortOnReturn: false,
  }).dangerouslyUnref();
  const again = retry(
    handleWhen((error) => error instanceof AgentFault && error.recovery === 'RETRY'),
    {
      maxAttempts: RETRIES_MAX,
      backoff: new ExponentialBackoff({ generator: halfJitterGenerator, initialDelay: retryBaseMs }),
    },
  ).dangerouslyUnref();

  const once = (aliasId: string, [agent, question, signal, take]: Parameters<Begin>) =>
    inTime.execute(async ({ signal: late }) => {
      if (signal.aborted) throw stopped(signal);
      try {
        return await readBeginning(call(agent, aliasId, question, AbortSignal.any([signal, late])), take);
      } catch (error) {
        if (!(error instanceof AgentFault)) throw error;
        if (signal.aborted) throw stopped(signal);
        throw late.aborted ? neverBegan() : error;
      }
    });

  return async (...args) => {
    const [{ bedrock }] = args;
    let failure: AgentFault | null = null;
    for (const aliasId of bedrock.aliasIds) {
      try {
        return await again.execute(() => once(aliasId, args));
      } catch (error) {
        if (!(error instanceof AgentFault) || error.recovery === 'NONE') throw error;
        failure = tellingOf(failure, error);
      }
    }
    throw failure ?? new Error('an agent without an alias');
  };
}
