import { isoTime, type Clock } from '../kernel/clock.ts';
import { lateUse, NOTHING_USED, tokenUsage, type TurnMetering } from './metering.ts';
import {
  messageId,
  type Conversation,
  type Message,
  type MessageError,
  type MessageOutcome,
  type ModelUse,
  type Turn,
} from './model.ts';
import type { ClaimedTurn, ConversationStores, EndedMessage, TurnRecord } from './ports.ts';

/** How long an idempotency key is kept after its turn has ended. */
export const TURN_KEEP_MS = 24 * 60 * 60 * 1000;

/** A turn whose place in the conversation is known. */
export type PlacedTurn = Turn & { readonly sequence: number };

export const answerId = (turn: PlacedTurn): string => messageId(turn.conversationId, turn.sequence + 1);

/** What is known of an answer when it ends. */
export interface AnswerEnd {
  readonly status: MessageOutcome['status'];
  readonly content: string;
  readonly citations: Message['citations'];
  readonly error: MessageError | null;
  readonly metering: TurnMetering;
  /** Events already in its stream. */
  readonly eventCount: number;
}

/** Why an answer failed whose process stopped. */
export const INTERRUPTED: MessageError = {
  code: 'INTERRUPTED',
  message: 'The server stopped while the answer was being written.',
  retryable: true,
  retryAfterMs: null,
};

/** The end of an answer nobody is writing any more: nothing came of it, as far as is known. */
export const INTERRUPTED_END: AnswerEnd = {
  status: 'FAILED',
  content: '',
  citations: [],
  error: INTERRUPTED,
  metering: NOTHING_USED,
  eventCount: 0,
};

/** The two messages of a turn as they are stored when it begins. */
export function turnMessages(turn: PlacedTurn, conversation: Conversation, at: string): readonly [Message, Message] {
  const common = {
    tenantId: turn.tenantId,
    conversationId: turn.conversationId,
    ownerId: turn.ownerId,
    citations: [],
    error: null,
    usage: null,
    createdAt: at,
  };
  const question: Message = {
    ...common,
    id: messageId(turn.conversationId, turn.sequence),
    sequence: turn.sequence,
    role: 'USER',
    status: 'COMPLETED',
    content: turn.content ?? '',
    agentId: null,
    agentName: null,
    completedAt: at,
    lastEvent: 1,
  };
  const answer: Message = {
    ...common,
    id: answerId(turn),
    sequence: turn.sequence + 1,
    role: 'ASSISTANT',
    status: 'STREAMING',
    content: '',
    agentId: conversation.agentId,
    agentName: conversation.agentName,
    completedAt: null,
    lastEvent: null,
  };
  return [question, answer];
}

/** Stores the end of an answer, and returns what then stands there: an earlier end stands. */
export function endAnswer(
  { messages }: Pick<ConversationStores, 'messages'>,
  turn: PlacedTurn,
  end: AnswerEnd,
  clock: Clock,
) {
  const { status, content, citations, error, metering, eventCount } = end;
  const outcome = {
    status,
    content,
    citations,
    error,
    completedAt: isoTime(clock.now()),
    lastEvent: eventCount + 1,
    usage: tokenUsage(metering),
  };
  return messages.end(answerId(turn), outcome, metering);
}

/** A turn as it is metered, once its answer has ended. */
export const recordOf = (turn: PlacedTurn, { message, metering }: EndedMessage): TurnRecord => ({
  ...(metering ?? NOTHING_USED),
  turnId: turn.id,
  conversationId: turn.conversationId,
  userId: turn.ownerId,
  agentId: message.agentId ?? '',
  signInId: turn.signInId,
  first: turn.sequence === 1,
  status: message.status === 'STREAMING' ? 'FAILED' : message.status,
  errorCode: message.error?.code ?? null,
});

/**
 * Ends a turn: stores the answer, meters the turn, settles its tokens, unlocks the conversation, and only then tells the readers, so that whoever
 * hears of the end can send the next message at once. Closing the turn row comes last: until then the turn stays due.
 *
 * Every step is idempotent and takes what it needs from what the steps before it stored, so that after a crash at any point
 * the sweeper does the same again, with the same result. Where the answer has ended before, that end stands. Returns what was metered.
 */
export async function endTurn(
  stores: ConversationStores,
  turn: PlacedTurn,
  end: AnswerEnd,
  clock: Clock,
  repair: Pick<ClaimedTurn, 'unmetered'> | null = null,
): Promise<TurnMetering> {
  const ended = await endAnswer(stores, turn, end, clock);
  const record = ended ? recordOf(turn, ended) : (repair?.unmetered ?? null);
  await meterTurn(stores, turn, record, { fence: repair !== null });
  await stores.conversations.unlock(turn);
  if (ended) await tellReaders(stores.streams, ended.message);
  await stores.turns.finish(turn, clock.now() + TURN_KEEP_MS);
  return record ?? NOTHING_USED;
}

/** Meters a turn, and settles its tokens: as it is recorded, and then what was reported of it beyond that. */
export async function meterTurn(
  stores: Pick<ConversationStores, 'meter' | 'quota'>,
  turn: Turn,
  record: TurnRecord | null,
  options: { readonly fence: boolean },
): Promise<void> {
  if (record) await stores.meter.recordTurn(record);
  await stores.quota.settle(turn.id, record ? record.inputTokens + record.outputTokens : 0, options);
  if (turn.reported) await meterReported(stores, turn, turn.reported);
}

/** Meters what a turn used beyond what was recorded when it ended: whoever ended it knew only of the last checkpoint. */
async function meterReported(
  { meter, quota }: Pick<ConversationStores, 'meter' | 'quota'>,
  turn: Turn,
  reported: readonly ModelUse[],
): Promise<void> {
  const recorded = await meter.recorded(turn.id);
  if (!recorded) return;
  const models = lateUse(reported, recorded.models);
  if (models.length === 0) return;
  const sum = (tokens: (use: ModelUse) => number) => models.reduce((total, use) => total + tokens(use), 0);
  const inputTokens = sum((use) => use.inputTokens);
  const outputTokens = sum((use) => use.outputTokens);
  await meter.recordLateTokens({
    turnId: turn.id,
    userId: turn.ownerId,
    agentId: recorded.agentId,
    inputTokens,
    outputTokens,
    estimatedTokens: sum((use) => use.estimatedTokens),
    models,
  });
  await quota.settleLate(turn.id, inputTokens + outputTokens);
}

async function tellReaders(streams: ConversationStores['streams'], message: Message) {
  if (message.status === 'STREAMING') return;
  await streams.append(message.id, { sequence: message.lastEvent ?? 1, type: message.status, message });
}
