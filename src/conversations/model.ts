import { ulid, ULID_PATTERN } from '../kernel/ids.ts';
import type { TenantId } from '../tenancy/tenant-id.ts';

export interface Conversation {
  readonly tenantId: TenantId;
  readonly id: string;
  readonly title: string;
  readonly agentId: string;
  /** The agent's and the owner's names when it was started: shown once they themselves are gone. */
  readonly agentName: string;
  readonly ownerId: string;
  readonly ownerName: string;
  readonly createdAt: string;
  readonly updatedAt: string;
  readonly version: number;
  /** Also the sequence number of its newest message: numbers are dense and start at 1. */
  readonly messageCount: number;
}

export type MessageStatus = 'STREAMING' | 'COMPLETED' | 'FAILED' | 'CANCELLED';

export interface Citation {
  readonly text: string;
  readonly source: string | null;
  readonly title: string | null;
}

export interface MessageError {
  readonly code: string;
  readonly message: string;
  readonly retryable: boolean;
  readonly retryAfterMs: number | null;
}

export interface TokenUsage {
  readonly inputTokens: number;
  readonly outputTokens: number;
  readonly totalTokens: number;
  /** The part of `totalTokens` that was estimated. */
  readonly estimatedTokens: number;
  readonly latencyMs: number;
  readonly modelId: string | null;
  readonly estimated: boolean;
}

/** What one model was used for. */
export interface ModelUse {
  /** Null where nobody named it. */
  readonly modelId: string | null;
  readonly inputTokens: number;
  readonly outputTokens: number;
  readonly estimatedTokens: number;
}

export interface Message {
  readonly tenantId: TenantId;
  readonly id: string;
  readonly conversationId: string;
  /** Its place in the conversation, from 1 without gaps. */
  readonly sequence: number;
  readonly role: 'USER' | 'ASSISTANT';
  readonly status: MessageStatus;
  readonly content: string;
  readonly ownerId: string;
  readonly agentId: string | null;
  readonly agentName: string | null;
  readonly citations: readonly Citation[];
  readonly error: MessageError | null;
  readonly usage: TokenUsage | null;
  readonly createdAt: string;
  readonly completedAt: string | null;
  /** The sequence number of the terminal event of its stream; null while STREAMING. */
  readonly lastEvent: number | null;
}

/** How an answer ended: what is written over its placeholder. */
export type MessageOutcome = Pick<
  Message,
  'content' | 'citations' | 'error' | 'usage' | 'completedAt' | 'lastEvent'
> & { readonly status: Exclude<MessageStatus, 'STREAMING'> };

/**
 * One turn: the user's message and the agent's answer to it. Its row is idempotency key, lease and outbox in one:
 * it is written first, holds all that is needed to finish the turn, and stays due until everything is done.
 */
export interface Turn {
  readonly tenantId: TenantId;
  /** A ULID: its time is the turn's time in all metering. */
  readonly id: string;
  /** What the row is found by: a hash of caller, conversation and idempotency key, or without a key the turn's id. */
  readonly key: string;
  readonly conversationId: string;
  readonly ownerId: string;
  /** The sign-in it was asked under; null where the caller's credential is none. */
  readonly signInId: string | null;
  /** What the user wrote; null once the turn is done, when the messages hold it. */
  readonly content: string | null;
  /** A SHA-256 of the content, to tell a repeated send from another one. */
  readonly contentDigest: string;
  /** Sequence number of the user's message, the answer has the next one; null until the conversation is locked. */
  readonly sequence: number | null;
  /** When the turn may be taken over unless it is renewed, in milliseconds since the Unix epoch. */
  readonly leaseUntil: number;
  readonly cancelRequested: boolean;
  readonly done: boolean;
  /** How often a sweeper has claimed it. */
  readonly repairs: number;
  /** Whether it was put aside because no repair ended it: nobody claims it until somebody has it retried. */
  readonly parked: boolean;
  /**
   * What its agent was used for in truth, told by a process that had been taken for dead and came back; null: none did. It is
   * metered when the turn ends.
   */
  readonly reported: readonly ModelUse[] | null;
}

/** An event of an answer's stream, without the message id, which the stream's key holds. */
export type StreamEvent =
  /** The turn waits: `position` - 1 others are to run before it. */
  | { readonly sequence: number; readonly type: 'QUEUED'; readonly position: number }
  | { readonly sequence: number; readonly type: 'DELTA'; readonly text: string }
  | { readonly sequence: number; readonly type: 'CITATION'; readonly citation: Citation }
  | { readonly sequence: number; readonly type: 'COMPLETED' | 'FAILED' | 'CANCELLED'; readonly message: Message };

export const isTerminal = (event: StreamEvent): event is Extract<StreamEvent, { message: Message }> =>
  'message' in event;

const CONVERSATION_ID = new RegExp(`^conv-(${ULID_PATTERN})$`);
const MESSAGE_ID = new RegExp(`^msg-(${ULID_PATTERN})-([1-9][0-9]{0,8})$`);

export const newConversationId = (nowMs: number): string => `conv-${ulid(nowMs)}`;
export const isConversationId = (text: string): boolean => CONVERSATION_ID.test(text);

export const messageId = (conversationId: string, sequence: number): string =>
  `msg-${conversationId.slice('conv-'.length)}-${sequence}`;

/** Where a message stands, read from its id; null when this is no message's id. */
export function parseMessageId(text: string): { readonly conversationId: string; readonly sequence: number } | null {
  const [, conversation, sequence] = MESSAGE_ID.exec(text) ?? [];
  return conversation && sequence ? { conversationId: `conv-${conversation}`, sequence: Number(sequence) } : null;
}
