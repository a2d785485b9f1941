import { randomUUID } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import type { Clock } from '../../kernel/clock.ts';
import { composeAnswer } from './answer.ts';
import { chunksFor, cutIntoChunks } from './chunking.ts';
import type { Emulation, Fault } from './emulation.ts';
import { parseEmulation } from './emulation.ts';
import type { InvocationLog } from './invocation-log.ts';
import type { Memories } from './memories.ts';
import type { InvokeRequest, InvokeTarget } from './invoke-request.ts';
import type { EmulatedAgent, Passage } from './model.ts';
import { modelSteps } from './model-steps.ts';
import type { LookupResult, Plan } from './plan.ts';
import { ACTION_GROUP, planAnswer, planToolCall } from './plan.ts';
import { playBack } from './playback.ts';
import { RESULTS_DEFAULT, retrieve } from './retrieval.ts';
import type { ServiceErrorName } from './service-error.ts';
import { invalid, ServiceError } from './service-error.ts';
import type { PendingTool, Session, SessionStore } from './sessions.ts';
import { fingerprint, sessionOf, withTurn } from './sessions.ts';

/** What the emulated service knows, and where it remembers. */
export interface InvokerDeps {
  readonly agents: readonly EmulatedAgent[];
  readonly passages: readonly Passage[];
  readonly clock: Clock;
  readonly chunksPerSecond: number;
  readonly sessions: SessionStore;
  readonly log: InvocationLog;
  readonly memories: Memories;
}

/** Where one call goes. */
export interface Call {
  readonly target: InvokeTarget;
  readonly request: InvokeRequest;
  readonly response: ServerResponse;
  readonly signal: AbortSignal;
}

/** Everything known about a call once it was accepted. */
interface Turn extends Call {
  readonly agent: EmulatedAgent;
  readonly sessionKey: string;
  readonly session: Session;
  readonly question: string;
  readonly emulation: Emulation;
  readonly toolText: string | null;
  readonly attempt: number;
  readonly requestId: string;
}

const STEPS_TO_ANSWER = 2;
const STEPS_TO_TOOL_CALL = 1;

/**
 * Answers one InvokeAgent call: resolves when nothing more will be sent, whatever the client did.
 *
 * @throws ServiceError before anything was sent, for every refusal that has an HTTP status.
 */
export const invokeAgent = async (deps: InvokerDeps, call: Call): Promise<void> => {
  const turn = acceptTurn(deps, call);
  const { agent, request, emulation } = turn;
  call.response.setHeader('x-amzn-requestid', turn.requestId);
  const record = deps.log.open({
    ...turn.target,
    question: turn.question,
    sessionAttributes: request.sessionAttributes,
    filters: Object.fromEntries(agent.knowledgeBaseIds.map((id) => [id, request.retrieval.get(id)?.filter ?? null])),
    attempt: turn.attempt,
    requestId: turn.requestId,
  });
  try {
    const fault = faultOf(deps, turn);
    record.error = failureBeforeStream(request, fault);
    if (record.error) throw new ServiceError(record.error, `emulated ${record.error}`);
    const memoryId = agent.memory ? request.memoryId : null;
    const act = emulation.tool ? toolTurn(deps, turn, emulation.tool) : answerTurn(deps, turn);
    await playBack(act.plan, {
      ...turn,
      record,
      fault,
      clock: deps.clock,
      enableTrace: request.enableTrace,
      memoryId,
      delayMs: emulation.delayMs ?? 1_000 / deps.chunksPerSecond,
      onCompleted() {
        if (memoryId !== null) deps.memories.keep({ ...turn.target, memoryId });
        act.onCompleted();
      },
    });
  } catch (error) {
    record.outcome = 'failed';
    throw error;
  }
};

/** The fault this call is to suffer. Only calls that can are counted: with `alias` and `times`, those to that alias. */
const faultOf = ({ sessions }: InvokerDeps, { agent, target, question, emulation }: Turn): Fault | null => {
  const { fault, alias, times } = emulation;
  const struck =
    alias === null || alias === target.aliasId || alias === `${agent.aliasIds.indexOf(target.aliasId) + 1}`;
  if (!fault || !struck) return null;
  return sessions.countAttempt('fault', target.sessionId, question) <= (times ?? Infinity) ? fault : null;
};

const failureBeforeStream = (request: InvokeRequest, fault: Fault | null): ServiceErrorName | null => {
  // The service fails the turn when the client reports that its tool failed.
  if (request.toolReturn?.results.some(({ failed }) => failed)) return 'DependencyFailedException';
  return fault?.kind === 'error' && fault.after === 0 ? fault.exception : null;
};

const acceptTurn = (deps: InvokerDeps, call: Call): Turn => {
  const { target, request } = call;
  const agent = deps.agents.find(({ agentId }) => agentId === target.agentId);
  if (!agent?.aliasIds.includes(target.aliasId))
    throw new ServiceError('ResourceNotFoundException', `no alias ${target.aliasId} of agent ${target.agentId}`);
  for (const id of request.retrieval.keys())
    if (!agent.knowledgeBaseIds.includes(id)) throw invalid(`knowledge base ${id} is not attached to the agent`);
  const sessionKey = `${target.agentId}/${target.sessionId}`;
  const session = deps.sessions.get(sessionKey) ?? sessionOf(request.history);
  const asked = request.toolReturn ? resume(request.toolReturn, session.pending) : parseEmulation(request.inputText);
  const attempt = deps.sessions.countAttempt(target.sessionId, request.toolReturn?.invocationId ?? '', asked.question);
  return { ...call, toolText: null, ...asked, agent, sessionKey, session, attempt, requestId: randomUUID() };
};

const resume = (
  { invocationId, results }: NonNullable<InvokeRequest['toolReturn']>,
  pending: PendingTool | null,
): Pick<Turn, 'question' | 'emulation' | 'toolText'> => {
  if (pending?.invocationId !== invocationId) throw invalid(`no tool call ${invocationId} is waiting in this session`);
  const stranger = results.find(({ tool }) => tool !== pending.tool);
  if (stranger) throw invalid(`the result is for ${stranger.tool}, but ${ACTION_GROUP}.${pending.tool} was called`);
  // The faults were the first call's; what remains is how the answer is to be sent.
  const { chunks, delayMs } = pending.emulation;
  const emulation = { ...parseEmulation('').emulation, chunks, delayMs };
  const told = results.map(({ denied, body }) => (denied ? 'the user declined the call' : body));
  return { question: pending.question, emulation, toolText: told.join('; ') };
};

interface Act {
  readonly plan: Plan;
  onCompleted(): void;
}

const answerTurn = (deps: InvokerDeps, turn: Turn): Act => {
  const { agent, request, session, question, emulation, toolText, requestId } = turn;
  const lookups = lookUp(deps, turn);
  const answer = composeAnswer({
    agentName: agent.name,
    question,
    session,
    passages: lookups.flatMap(({ passages }) => passages),
    toolText,
    wordsMin: emulation.chunks ?? 0,
  });
  const stepsCount = emulation.steps ?? STEPS_TO_ANSWER;
  const steps = modelSteps(
    { agent, request, session, question, lookups, said: answer.text, stepsCount, requestId },
    emulation,
  );
  const count = emulation.chunks ?? (request.streamFinalResponse ? chunksFor(answer.text) : 1);
  const chunks = cutIntoChunks(answer.text, count);
  const { action } = emulation;
  const plan = planAnswer({ question, steps, lookups, answer, chunks, toolText, action, foreign: foreignPart(turn) });
  const onCompleted = () => {
    if (request.endSession) deps.sessions.forget(turn.sessionKey);
    else {
      // Read again: another turn of the session may have ended meanwhile.
      const latest = deps.sessions.get(turn.sessionKey) ?? session;
      deps.sessions.put(turn.sessionKey, withTurn(latest, { question, answer: answer.text }));
    }
  };
  return { plan, onCompleted };
};

const lookUp = (deps: InvokerDeps, { agent, request, question }: Turn): readonly LookupResult[] =>
  agent.knowledgeBaseIds.map((knowledgeBaseId) => {
    const settings = request.retrieval.get(knowledgeBaseId);
    const resultsMax = settings?.resultsMax ?? RESULTS_DEFAULT;
    const filter = settings?.filter ?? null;
    return { knowledgeBaseId, passages: retrieve(deps.passages, { knowledgeBaseId, question, filter, resultsMax }) };
  });

const foreignPart = ({ agent, emulation }: Turn) => {
  const { foreign: tenantId, after } = emulation;
  if (tenantId === null) return null;
  const knowledgeBaseId = agent.knowledgeBaseIds[0] ?? 'KBFOREIGN1';
  const uri = `s3://emulated/${tenantId}/secret.md`;
  const passage = { knowledgeBaseId, tenantId, uri, title: 'Secret', text: `A secret of ${tenantId}.` };
  return { lookup: { knowledgeBaseId, passages: [passage] }, after: after ?? 0 };
};

const toolTurn = (deps: InvokerDeps, turn: Turn, tool: string): Act => {
  const { agent, request, session, question, emulation, requestId, sessionKey, attempt } = turn;
  const stepsCount = emulation.steps ?? STEPS_TO_TOOL_CALL;
  const said = `I need the tool ${tool} to answer this.`;
  const steps = modelSteps({ agent, request, session, question, lookups: [], said, stepsCount, requestId }, emulation);
  const invocationId = fingerprint(sessionKey, question, String(session.questionsCount), String(attempt));
  const onCompleted = () => {
    deps.sessions.put(sessionKey, { ...session, pending: { invocationId, tool, question, emulation } });
  };
  return { plan: planToolCall(steps, tool, invocationId, question), onCompleted };
};
