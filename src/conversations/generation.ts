import { elapsedSince, sleep, type Clock } from '../kernel/clock.ts';
import { AppError } from '../kernel/errors.ts';
import type { TenantId } from '../tenancy/tenant-id.ts';
import { createDraft, messageError } from './answer-draft.ts';
import type { FairQueue, Place } from './fair-queue.ts';
import type { Conversation } from './model.ts';
import type { AnswerSource, ConversationStores, TurnSignals } from './ports.ts';
import { createStreamWriter, type StreamWriter } from './stream-writer.ts';
import { answerId, endTurn, INTERRUPTED, type AnswerEnd, type PlacedTurn } from './turn-end.ts';
import { keepUp, type StopReason } from './upkeep.ts';

/** How often a waiting turn tells its readers how far it is. */
const POSITION_EVERY_MS = 1_000;
/** How long a turn that is stopped may take to end, in milliseconds. */
const ENDING_MS = 5_000;
/** An answer is stored and sent whole: longer ones are cut off here, in UTF-16 units. */
export const ANSWER_CHARACTERS_MAX = 1_048_576;

/** What the log of the process is told about turns; never the content of a message. */
export interface TurnLog {
  turnFailed(turn: PlacedTurn, error: unknown): void;
  turnLeft(turn: PlacedTurn, error: unknown): void;
}

export interface GenerationWork {
  readonly turn: PlacedTurn;
  readonly conversation: Conversation;
  readonly knowledgeBaseIds: readonly string[];
  readonly stores: ConversationStores;
  readonly place: Place;
}

/** The answers this process is generating. They belong to no request: a client that leaves changes nothing. */
export interface Generations {
  /** A place for a turn that is about to be stored. `max`: how many of its tenant's may run at a time. @throws RATE_LIMITED with `retryAfterMs`. */
  enter(tenantId: TenantId, turnId: string, max: number | null): Place;
  /** Runs the turn when its place comes up. */
  start(work: GenerationWork): void;
  /** Stops the turn, wherever it runs. */
  cancel(turnId: string): void;
  /** Resolves once the turn no longer runs here, at once if it does not. */
  settled(turnId: string): Promise<void>;
  /** False once the server is stopping: no turn is to begin any more. */
  accepting(): boolean;
  /** Waits for every turn at most `graceMs`, then ends those still running, and any that still begin, as INTERRUPTED. */
  drain(graceMs: number): Promise<void>;
  count(): number;
}

export interface GenerationDependencies {
  readonly source: AnswerSource;
  readonly queue: FairQueue;
  readonly signals: TurnSignals;
  readonly clock: Clock;
  readonly log: TurnLog;
  /** How long text may be held back to be sent together. */
  readonly coalesceMs: number;
}

export function createGenerations(deps: GenerationDependencies): Generations {
  const { source, queue, signals, clock, log, coalesceMs } = deps;
  const running = new Map<string, { readonly stop: (reason: StopReason) => void; readonly settled: Promise<void> }>();

  let accepting = true;
  let closed = false;

  async function run(
    { turn, conversation, knowledgeBaseIds, stores, place }: GenerationWork,
    control: AbortController,
  ) {
    const text = turn.content ?? '';
    const startedAt = clock.now();
    const elapsed = () => elapsedSince(clock, startedAt);
    const signal = control.signal;
    const writer = createStreamWriter({ streams: stores.streams, messageId: answerId(turn), clock, coalesceMs });
    const draft = createDraft(text.length, writer);
    const upkeep = keepUp({
      turn,
      stores,
      clock,
      stop: (reason) => control.abort(reason),
      draft: () => ({ content: draft.content(), metering: draft.meter.total(elapsed()) }),
      failed: (error) => log.turnFailed(turn, error),
    });

    // From here on the turn costs something, and whoever repairs it must know.
    const firstStep = once(() => upkeep.checkpoint().catch((error: unknown) => log.turnFailed(turn, error)));

    async function ask() {
      await waitForTurn(place, writer, signal);
      const { tenantId, ownerId: userId, conversationId } = turn;
      const { agentId } = conversation;
      const question = { tenantId, userId, conversationId, agentId, knowledgeBaseIds, text };
      for await (const part of source.answer(question, signal)) {
        if (signal.aborted) break;
        await draft.take(part, elapsed());
        if (part.type === 'step') firstStep();
        if (draft.content().length > ANSWER_CHARACTERS_MAX) throw answerTooLong();
      }
      signal.throwIfAborted();
      if (draft.content() === '') throw emptyAnswer();
      await writer.flush();
    }

    let end: AnswerEnd;
    try {
      await ask();
      end = draft.end('COMPLETED', null, elapsed());
    } catch (error) {
      const reason = signal.aborted && !isBreach(error) ? (signal.reason as StopReason) : null;
      if (reason === null) log.turnFailed(turn, error);
      // What was said before a breach of isolation must not be replayed either.
      if (isBreach(error)) {
        writer.discard();
        await stores.streams.withhold(answerId(turn));
      } else await writer.flush();
      if (reason === 'CANCELLED') end = draft.end('CANCELLED', null, elapsed());
      else end = draft.end('FAILED', reason === null ? messageError(error) : INTERRUPTED, elapsed());
    } finally {
      upkeep.stop();
      place.leave();
      control.abort('LOST' satisfies StopReason); // whatever the agent call still holds open
    }
    if (!upkeep.lost()) {
      const { inputTokens, outputTokens } = await endTurn(stores, turn, end, clock);
      // Otherwise another process ended it before, and this one had not noticed yet.
      if (inputTokens === end.metering.inputTokens && outputTokens === end.metering.outputTokens) return;
    } else await stores.streams.leave(answerId(turn));
    // The other knew of the last checkpoint only.
    await stores.turns.report(turn, end.metering.models, clock.now());
  }

  /** Waits for its turn, and tells the readers how far it is. */
  async function waitForTurn(place: Place, writer: StreamWriter, signal: AbortSignal) {
    const begun = new AbortController();
    const turnToRun = place.turnToRun(signal).finally(() => begun.abort());
    let told = 0;
    while (!begun.signal.aborted) {
      const position = place.position();
      if (position > 0 && position !== told) await writer.queued((told = position));
      await Promise.race([turnToRun, sleep(clock, POSITION_EVERY_MS, begun.signal)]);
    }
    await turnToRun;
  }

  signals.onCancel((turnId) => running.get(turnId)?.stop('CANCELLED'));

  return {
    enter: (tenantId, turnId, max) => queue.enter(tenantId, turnId, max),
    start(work) {
      const control = new AbortController();
      const settled = run(work, control)
        // The store is out of reach: the turn's lease runs out and the sweeper ends it.
        .catch((error: unknown) => log.turnLeft(work.turn, error))
        .finally(() => running.delete(work.turn.id));
      running.set(work.turn.id, { stop: (reason) => control.abort(reason), settled });
      if (closed) control.abort('INTERRUPTED' satisfies StopReason);
    },
    accepting: () => accepting,
    cancel(turnId) {
      const turn = running.get(turnId);
      if (turn) turn.stop('CANCELLED');
      else signals.cancel(turnId);
    },
    settled: (turnId) => running.get(turnId)?.settled ?? Promise.resolve(),
    async drain(graceMs) {
      accepting = false;
      const allSettled = () => Promise.all([...running.values()].map((turn) => turn.settled));
      await Promise.race([allSettled(), sleep(clock, graceMs)]);
      closed = true;
      for (const turn of running.values()) turn.stop('INTERRUPTED');
      await Promise.race([allSettled(), sleep(clock, ENDING_MS)]);
    },
    count: () => running.size,
  };
}

/** Does it the first time only. */
function once(task: () => unknown): () => void {
  let done = false;
  return () => {
    if (!done) void task();
    done = true;
  };
}

const isBreach = (error: unknown) => error instanceof AppError && error.code === 'ISOLATION_VIOLATION';

const emptyAnswer = () =>
  new AppError('AGENT_UNAVAILABLE', 'The agent ended without an answer.', { retryable: true, retryAfterMs: 1_000 });

const answerTooLong = () =>
  new AppError('AGENT_UNAVAILABLE', 'The answer is longer than this server stores; what fits was kept.', {
    retryable: false,
  });
