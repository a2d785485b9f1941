import { sleep, type Clock } from '../kernel/clock.ts';
import { AppError } from '../kernel/errors.ts';
import { readMeter } from './metering.ts';
import type { Citation, Conversation, MessageError } from './model.ts';
import type { AnswerPart, AnswerSource, ConversationStores } from './ports.ts';
import { answerId, endTurn, INTERRUPTED, type AnswerEnd, type PlacedTurn } from './turn-end.ts';

/** How long a turn may go unrenewed before another instance may repair it, in milliseconds. */
export const LEASE_MS = 60_000;
/** How often the lease is renewed, and the partial answer stored, while the turn runs. */
export const RENEW_EVERY_MS = 20_000;
export const CHECKPOINT_EVERY_MS = 10_000;
/** How long a turn that is stopped may take to end, in milliseconds. */
const ENDING_MS = 5_000;
/** An answer is stored and sent whole: longer ones are cut off here, in UTF-16 units. */
export const ANSWER_CHARACTERS_MAX = 1_048_576;

type StopReason = 'CANCELLED' | 'INTERRUPTED' | 'LOST';

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
}

/** The answers this process is generating. They belong to no request: a client that leaves changes nothing. */
export interface Generations {
  start(work: GenerationWork): void;
  /** Stops the turn if it runs here. */
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
  readonly clock: Clock;
  readonly log: TurnLog;
}

/** The error a message shows for what the agent or the server threw. Anything not meant for callers is masked. */
function messageError(error: unknown): MessageError {
  if (!(error instanceof AppError)) {
    return { code: 'INTERNAL', message: 'The answer failed unexpectedly.', retryable: true, retryAfterMs: null };
  }
  const { retryable, retryAfterMs } = error.details;
  return {
    code: error.code,
    message: error.message,
    retryable: retryable === true,
    retryAfterMs: typeof retryAfterMs === 'number' ? retryAfterMs : null,
  };
}

/** An answer while it is being written. */
function createDraft(questionCharacters: number) {
  const citations: Citation[] = [];
  const meter = readMeter(questionCharacters);
  let content = '';
  let eventCount = 0;
  return {
    meter,
    content: () => content,
    /** Takes a part in, and returns the event it makes, if readers are to see one. */
    take(part: AnswerPart, elapsedMs: number) {
      meter.take(part, elapsedMs);
      if (part.type === 'text' && part.text !== '') {
        content += part.text;
        return { sequence: ++eventCount, type: 'DELTA', text: part.text } as const;
      }
      if (part.type === 'citation') {
        citations.push(part.citation);
        return { sequence: ++eventCount, type: 'CITATION', citation: part.citation } as const;
      }
      return null;
    },
    end(status: AnswerEnd['status'], error: MessageError | null, elapsedMs: number): AnswerEnd {
      // What came before a breach of isolation is withheld too: nobody knows where the foreign passage began to show.
      const withheld = error?.code === 'ISOLATION_VIOLATION';
      return {
        status,
        error,
        content: withheld ? '' : content,
        citations: withheld ? [] : citations,
        metering: meter.total(elapsedMs),
        eventCount,
      };
    },
  };
}

export function createGenerations({ source, clock, log }: GenerationDependencies): Generations {
  const running = new Map<string, { readonly stop: (reason: StopReason) => void; readonly settled: Promise<void> }>();

  let accepting = true;
  let closed = false;

  async function run({ turn, conversation, knowledgeBaseIds, stores }: GenerationWork, control: AbortController) {
    const text = turn.content ?? '';
    const startedAt = clock.now();
    const elapsed = () => clock.now() - startedAt;
    const draft = createDraft(text.length);
    const signal = control.signal;
    const upkeep = keepAlive({ turn, stores, control, clock, log }, () => ({
      content: draft.content(),
      metering: draft.meter.total(elapsed()),
    }));

    let end: AnswerEnd;
    try {
      const question = {
        tenantId: turn.tenantId,
        userId: turn.ownerId,
        conversationId: turn.conversationId,
        agentId: conversation.agentId,
        knowledgeBaseIds,
        text,
      };
      for await (const part of source.answer(question, signal)) {
        if (signal.aborted) break;
        const event = draft.take(part, elapsed());
        if (event) await stores.streams.append(answerId(turn), event);
        if (draft.content().length > ANSWER_CHARACTERS_MAX) throw answerTooLong();
      }
      signal.throwIfAborted();
      if (draft.content() === '') throw emptyAnswer();
      end = draft.end('COMPLETED', null, elapsed());
    } catch (error) {
      const reason = signal.aborted && !isBreach(error) ? (signal.reason as StopReason) : null;
      if (reason === null) log.turnFailed(turn, error);
      // What was said before a breach of isolation must not be replayed either.
      if (isBreach(error)) await stores.streams.withhold(answerId(turn));
      if (reason === 'CANCELLED') end = draft.end('CANCELLED', null, elapsed());
      else end = draft.end('FAILED', reason === null ? messageError(error) : INTERRUPTED, elapsed());
    } finally {
      upkeep.stop();
      control.abort('LOST' satisfies StopReason); // whatever the agent call still holds open
    }
    if (!upkeep.lost()) await endTurn(stores, turn, end, clock);
  }

  return {
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
    cancel: (turnId) => running.get(turnId)?.stop('CANCELLED'),
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

interface Upkeep {
  readonly turn: PlacedTurn;
  readonly stores: ConversationStores;
  readonly control: AbortController;
  readonly clock: Clock;
  readonly log: TurnLog;
}

/** While the turn runs: renews its lease, notices a cancellation asked for elsewhere, and stores what there is of the answer. */
function keepAlive(
  { turn, stores, control, clock, log }: Upkeep,
  draft: () => Parameters<ConversationStores['messages']['checkpoint']>[1],
) {
  let lost = false;
  const renew = async () => {
    const renewed = await stores.turns.renew(turn, clock.now() + LEASE_MS);
    if (renewed === null) {
      lost = true;
      control.abort('LOST' satisfies StopReason);
    } else if (renewed.cancelRequested) control.abort('CANCELLED' satisfies StopReason);
  };
  const stops = [
    every(RENEW_EVERY_MS, renew),
    every(CHECKPOINT_EVERY_MS, async () => {
      const { content, metering } = draft();
      await stores.messages.checkpoint(answerId(turn), { content, metering });
      await stores.quota.raise(turn.id, metering.inputTokens + metering.outputTokens);
    }),
  ];

  function every(ms: number, task: () => Promise<void>) {
    let cancel: () => void;
    const plan = () => {
      cancel = clock.after(ms, () => {
        // A failure is not the end of the turn: the next try may do, and if none does the lease runs out.
        task().catch((error: unknown) => log.turnFailed(turn, error));
        plan();
      });
    };
    plan();
    return () => cancel();
  }

  return { lost: () => lost, stop: () => stops.forEach((stop) => stop()) };
}

const isBreach = (error: unknown) => error instanceof AppError && error.code === 'ISOLATION_VIOLATION';

const emptyAnswer = () => new AppError('AGENT_UNAVAILABLE', 'The agent ended without an answer.', { retryable: true });

const answerTooLong = () =>
  new AppError('AGENT_UNAVAILABLE', 'The answer is longer than this server stores; what fits was kept.', {
    retryable: false,
  });
