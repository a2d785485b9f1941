import type { ServerResponse } from 'node:http';
import type { Clock } from '../../kernel/clock.ts';
import { isoTime, sleep } from '../../kernel/clock.ts';
import type { Fault } from './emulation.ts';
import { eventFrame, exceptionFrame } from './event-frames.ts';
import type { OpenInvocation } from './invocation-log.ts';
import type { InvokeTarget } from './invoke-request.ts';
import type { Plan, PlannedChunk, PlannedReturnControl, PlannedTrace } from './plan.ts';

/** What `playBack` needs beside the plan. */
export interface Playback {
  readonly response: ServerResponse;
  /** Aborts when the client hangs up or the emulator closes; the work then stops at once. */
  readonly signal: AbortSignal;
  readonly clock: Clock;
  readonly target: InvokeTarget;
  readonly enableTrace: boolean;
  /** The memory it begins with. */
  readonly memoryId: string | null;
  readonly delayMs: number;
  readonly fault: Fault | null;
  readonly record: OpenInvocation;
  /** Called once everything was sent, before the stream ends, so that the client's next call finds the turn remembered. */
  onCompleted(): void;
}

/** The reason a stream's signal has when the emulator closes, to tell it from a client that hangs up. */
export const EMULATOR_CLOSED = Symbol('emulator closed');

/** Thrown inside this file to leave the plan early; the record already says why. */
class Stopped extends Error {}

/**
 * Sends a plan as an event stream, with the fault it is to suffer, and writes down what really happened.
 *
 * Never rejects for anything the client does. Each frame waits until the socket has taken the one before, which is both the
 * back-pressure and the proof that a recorded token was sent.
 */
export const playBack = async (plan: Plan, playback: Playback): Promise<void> => {
  const { response, signal, target, fault, record, memoryId } = playback;
  response.writeHead(200, {
    'content-type': 'application/vnd.amazon.eventstream',
    'x-amzn-bedrock-agent-content-type': 'application/json',
    'x-amz-bedrock-agent-session-id': target.sessionId,
    ...(memoryId !== null && { 'x-amz-bedrock-agent-memory-id': memoryId }),
  });
  record.memoryId = memoryId;
  response.flushHeaders();
  try {
    if (fault?.kind === 'empty') return finish(playback, 'failed');
    for (const event of plan.before) await sendTrace(event, playback);
    await sendChunks(plan.chunks, playback);
    for (const event of plan.after)
      await (event.kind === 'trace' ? sendTrace(event, playback) : sendReturnControl(event, playback));
    playback.onCompleted();
    finish(playback, 'completed');
  } catch (error) {
    if (!(error instanceof Stopped)) throw error;
    if (record.outcome !== 'running') return;
    record.outcome = 'aborted';
    record.clientHungUp = signal.reason !== EMULATOR_CLOSED;
  }
};

const finish = ({ record, response }: Playback, outcome: 'completed' | 'failed'): void => {
  // Written down first: whoever sees the stream end may read the record at once.
  record.outcome = outcome;
  response.end();
};

const sendChunks = async (chunks: readonly PlannedChunk[], playback: Playback): Promise<void> => {
  const { clock, delayMs, fault, record, signal } = playback;
  // A short answer must not save a call from its fault, so the last chunk is late enough for any `after`.
  const faultAt = fault ? Math.min(fault.after, chunks.length) : -1;
  for (const [index, chunk] of chunks.entries()) {
    if (fault && index === faultAt) await suffer(fault, playback);
    if (index > 0 && delayMs > 0) await sleep(clock, delayMs, signal);
    for (const event of chunk.lead) await sendTrace(event, playback);
    await send(eventFrame('chunk', chunkBody(chunk)), playback);
    record.chunksSent += 1;
  }
  if (fault && faultAt === chunks.length) await suffer(fault, playback);
};

const chunkBody = ({ bytes, citations }: PlannedChunk) => ({
  bytes: bytes.toString('base64'),
  ...(citations.length > 0 && { attribution: { citations } }),
});

const sendTrace = async (
  { orchestrationTrace, usage, lookup, action }: PlannedTrace,
  playback: Playback,
): Promise<void> => {
  const { enableTrace, target, clock, record } = playback;
  if (!enableTrace) return;
  const { agentId, aliasId, sessionId } = target;
  const body = {
    agentId,
    agentAliasId: aliasId,
    agentVersion: '1',
    sessionId,
    // ISO 8601: the model gives this member the date-time format, not epoch seconds.
    eventTime: isoTime(clock.now()),
    callerChain: [{ agentAliasArn: `arn:aws:bedrock:us-east-1:000000000000:agent-alias/${agentId}/${aliasId}` }],
    trace: { orchestrationTrace },
  };
  await send(eventFrame('trace', body), playback);
  record.tracesSent += 1;
  if (lookup) {
    const { knowledgeBaseId, passages } = lookup;
    record.lookups = [...record.lookups, { knowledgeBaseId, results: passages.length }];
  }
  if (action) record.actions = [...record.actions, action];
  record.inputTokens += usage?.inputTokens ?? 0;
  record.outputTokens += usage?.outputTokens ?? 0;
};

const sendReturnControl = (
  { invocationId, invocationInputs }: PlannedReturnControl,
  playback: Playback,
): Promise<void> => send(eventFrame('returnControl', { invocationId, invocationInputs }), playback);

const suffer = async (fault: Fault, playback: Playback): Promise<never> => {
  const { record, response, signal } = playback;
  if (signal.aborted) throw new Stopped();
  if (fault.kind === 'error') {
    record.outcome = 'failed';
    record.error = fault.exception;
    await send(exceptionFrame(fault.exception, `emulated ${fault.exception}`), playback);
    response.end();
  } else if (fault.kind === 'cut') {
    record.outcome = 'failed';
    response.destroy();
  } else {
    await aborted(signal);
  }
  throw new Stopped();
};

const aborted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) return resolve();
    signal.addEventListener('abort', () => resolve(), { once: true });
  });

/** Resolves when the socket has taken the bytes; throws `Stopped` if it never will. */
const send = (bytes: Uint8Array, { response, signal }: Playback): Promise<void> =>
  new Promise((resolve, reject) => {
    if (signal.aborted) return reject(new Stopped());
    const stop = () => reject(new Stopped());
    signal.addEventListener('abort', stop, { once: true });
    response.write(bytes, (error) => {
      signal.removeEventListener('abort', stop);
      if (error) stop();
      else resolve();
    });
  });
