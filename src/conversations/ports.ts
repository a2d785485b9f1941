import type { Page, PageRequest } from '../kernel/page.ts';
import type { TenantId } from '../tenancy/tenant-id.ts';
import type { Citation, Conversation, Message, MessageOutcome, ModelUse, StreamEvent, Turn } from './model.ts';
import type { TurnMetering } from './metering.ts';

/** What stands in a locked conversation: the turn that runs there and the place of its user message. */
export interface ConversationLock {
  readonly turnId: string;
  readonly turnKey: string;
  readonly sequence: number;
}

/** A conversation with what only the turn and the clean-up may know of it. */
export interface ConversationState {
  readonly conversation: Conversation;
  readonly lock: ConversationLock | null;
  readonly deleting: boolean;
}

/** Why a lock was not given: the state it met, null where there is no such conversation. */
export type LockResult =
  | { readonly locked: Conversation; readonly sequence: number }
  | { readonly locked: null; readonly state: ConversationState | null };

export interface ConversationListFilter {
  readonly ownerId: string | null;
  readonly agentId: string | null;
  /** Only those whose last activity came later. */
  readonly activeAfter?: string | null;
}

/** The conversations of one tenant. One that is being deleted counts as absent, except where a method says otherwise. */
export interface ConversationStore {
  create(conversation: Conversation): Promise<void>;
  /** One entry for each id, in the same order; null where there is none. */
  getMany(ids: readonly string[]): Promise<readonly (Conversation | null)[]>;
  /** Reads one consistently, also one that is being deleted. */
  state(id: string): Promise<ConversationState | null>;
  /** Newest activity first. @throws BAD_USER_INPUT for a cursor of another list. */
  list(filter: ConversationListFilter, page: PageRequest): Promise<Page<Conversation>>;
  /** Renames it if its version is `expectedVersion` (null: whatever it is); otherwise returns it as it stands, null where there is none. */
  rename(
    id: string,
    change: { readonly title: string; readonly expectedVersion: number | null },
  ): Promise<{ readonly renamed: Conversation } | { readonly renamed: null; readonly current: Conversation | null }>;
  /**
   * Locks the owner's conversation for a turn, takes the turn's two sequence numbers and makes it the latest in its lists, all in one write.
   * `over` takes the lock away from a turn that is known to have ended, and its numbers too unless they are `used`.
   */
  lock(turn: Turn, at: string, over?: ConversationLock & { readonly used: boolean }): Promise<LockResult>;
  /** Gives the lock back, if this turn still holds it. */
  unlock(turn: Turn): Promise<void>;
  /** Undoes a lock: the numbers that came with it, which no message was stored at, and the place in the lists. */
  revert(turn: Turn): Promise<void>;
  /** Some of those whose last activity came at or before this moment, oldest first; there may be more. */
  idle(since: string, count: number): Promise<readonly string[]>;
  /**
   * Takes it out of every list, and has it stay due until `purge`; with `idleSince` only if it was not used later. Returns what
   * was there, null where there was none, or it was used.
   */
  markDeleting(id: string, dueAt: number, idleSince?: string): Promise<ConversationState | null>;
  /** Removes every message and at last the conversation; repeating it after a crash goes on where it stopped. */
  purge(id: string): Promise<void>;
}

/** The messages of one tenant. */
export interface MessageStore {
  /** Stores it unless something already stands in its place. */
  add(message: Message, turn: Turn): Promise<void>;
  /** One entry for each id, in the same order; null where there is none. */
  getMany(ids: readonly string[]): Promise<readonly (Message | null)[]>;
  /** The messages from one sequence number to another, both included, in order. */
  range(conversationId: string, from: number, to: number): Promise<readonly Message[]>;
  /** The row's key of the turn that wrote it. */
  turnKey(id: string): Promise<string | null>;
  /** Keeps the text and the usage so far, if the answer is still being written. */
  checkpoint(id: string, draft: { readonly content: string; readonly metering: TurnMetering }): Promise<void>;
  /** Ends an answer if it is still being written. Returns what is stored then: the first end wins. Null where there is no such message. */
  end(id: string, outcome: MessageOutcome, metering: TurnMetering): Promise<EndedMessage | null>;
  /** An answer as it was left, with its usage as far as it was kept. */
  draft(id: string): Promise<EndedMessage | null>;
}

export interface EndedMessage {
  readonly message: Message;
  readonly metering: TurnMetering | null;
}

/** A turn that was taken over. */
export interface ClaimedTurn extends Turn {
  /** What is to be metered of it, where it was put aside before and its messages may be gone since. */
  readonly unmetered: TurnRecord | null;
}

/** The turn rows of one tenant. */
export interface TurnStore {
  /** Stores the row, or returns the one that has its key. One that ended before it had messages is replaced: its key is free. */
  open(turn: Turn): Promise<{ readonly opened: true } | { readonly opened: false; readonly existing: Turn | null }>;
  get(key: string): Promise<Turn | null>;
  /** Notes the place of the turn's messages, and returns the turn as it is. Null when somebody else has taken it, or it is done. */
  placed(turn: Turn, sequence: number): Promise<Turn | null>;
  /** Extends the lease of the holder. Null when somebody else has taken the turn, or it is done: stop at once then. */
  renew(turn: Turn, leaseUntil: number): Promise<Turn | null>;
  /** Takes over a turn whose lease ran out before `now`, and counts that as a repair. Null when another was faster. */
  claim(key: string, now: number, leaseUntil: number): Promise<ClaimedTurn | null>;
  /** Asks whoever runs the turn to stop. Null when there is no such turn, or it is done. */
  requestCancel(key: string): Promise<Turn | null>;
  /** Puts a claimed turn aside, with the place of its messages and what is to be metered: no sweeper finds it any more. */
  park(
    turn: Turn,
    place: { readonly sequence: number | null; readonly unmetered: TurnRecord | null },
    at: number,
  ): Promise<void>;
  /** Has a turn that was put aside repaired again, as if for the first time. False when it is not parked. */
  unpark(key: string, now: number): Promise<boolean>;
  /**
   * Has what a turn's agent was used for in truth metered: by whoever is ending the turn, or where it has ended, by a repair that is due
   * at once. Nothing happens where the row is gone.
   */
  report(turn: Turn, models: readonly ModelUse[], now: number): Promise<void>;
  /** Removes the row of a turn that was refused, so that its key is free again. Nothing happens when somebody else has taken the turn. */
  discard(turn: Turn): Promise<void>;
  /** Ends the turn: it is due no more, and its key is kept until `keepUntil`. Where more was reported than `turn` knows, it stays due. */
  finish(turn: Turn, keepUntil: number): Promise<void>;
}

/** Work of any tenant that is past its time. */
export type DueWork =
  | { readonly kind: 'TURN'; readonly tenantId: TenantId; readonly turnKey: string }
  | { readonly kind: 'DELETION'; readonly tenantId: TenantId; readonly conversationId: string };

/** A turn that was put aside after its repair had failed again and again: a dead letter. */
export interface ParkedTurn {
  readonly tenantId: TenantId;
  readonly turnKey: string;
  readonly turnId: string;
  readonly parkedAt: string;
}

/** Known to background work only: it names the tenant of each piece of work, and the work is done with that tenant's stores. */
export interface DueWorkStore {
  due(now: number): Promise<readonly DueWork[]>;
  /** Ids of the turns that have not ended: running, waiting, due for repair, or parked. */
  openTurns(): Promise<ReadonlySet<string>>;
  /** Whether a turn of this tenant has not ended, and is not parked. */
  hasOpenTurns(tenantId: TenantId): Promise<boolean>;
  /** Oldest first. */
  parked(): Promise<readonly ParkedTurn[]>;
}

export interface StreamProgress {
  /** The text so far; empty when it is withheld. */
  readonly text: string;
  readonly lastEvent: number;
  readonly withheld: boolean;
}

/** The streams of one tenant's answers. */
export interface StreamLog {
  /** Starts the stream of an answer that nobody has written to. */
  open(messageId: string): Promise<void>;
  /** Adds events in sequence. Events after the terminal one are dropped. The log is kept 15 minutes after it. */
  append(messageId: string, event: StreamEvent): Promise<void>;
  /**
   * Every event after `after`, then live ones, ending with the terminal event, which comes whatever `after` is. Null when there is no such stream (any more),
   * or it cannot be reached. A reader that leaves changes nothing; `return()` takes effect at once.
   * The iteration throws INTERRUPTED (`retryable`) when the stream breaks off under its reader, who may read again from where it stopped.
   */
  read(messageId: string, after: number): Promise<AsyncIterableIterator<StreamEvent> | null>;
  /** How far the stream is; null when there is none. */
  progress(messageId: string): Promise<StreamProgress | null>;
  /** What was said so far is shown to nobody any more: from now on the stream has only its end. */
  withhold(messageId: string): Promise<void>;
  /** This process writes the stream no more, because another took its turn over: its readers here break off, to go on with what the other writes. */
  leave(messageId: string): Promise<void>;
}

/** Tells every instance at once that a turn is to stop. Best effort: the turn row says it too, and is read with every renewal of the lease. */
export interface TurnSignals {
  cancel(turnId: string): void;
  onCancel(listener: (turnId: string) => void): void;
}

/** Counts the running generations of each tenant over all instances. */
export interface GenerationSlots {
  /** Takes one of the tenant's `max` places, or returns false when all are taken. It is held until it is released, and a minute at most after its process has died. */
  take(tenantId: TenantId, turnId: string, max: number): Promise<boolean>;
  release(tenantId: TenantId, turnId: string): Promise<void>;
  /** Calls back when a place of this tenant may have become free on another instance. */
  onFreed(listener: (tenantId: TenantId) => void): void;
}

/** What a turn asks an agent. */
export interface Question {
  readonly tenantId: TenantId;
  readonly userId: string;
  readonly conversationId: string;
  readonly agentId: string;
  /** The knowledge bases of the tenant: a passage from any other is a violation. */
  readonly knowledgeBaseIds: readonly string[];
  readonly text: string;
}

/** One part of an answer as an agent gives it. */
export type AnswerPart =
  /** A call to this alias of the agent is about to be made. */
  | { readonly type: 'attempt'; readonly aliasId: string }
  | { readonly type: 'text'; readonly text: string }
  | { readonly type: 'citation'; readonly citation: Citation }
  /** A model has begun to work on a prompt of this many characters. */
  | { readonly type: 'step'; readonly inputCharacters: number; readonly modelId: string | null }
  /** The step has ended and reported what it used. */
  | {
      readonly type: 'usage';
      readonly inputTokens: number;
      readonly outputTokens: number;
      readonly modelId: string | null;
    }
  /** The agent calls a tool: what that does may already be done. */
  | { readonly type: 'action' }
  /** A call to a service beside the model has ended. */
  | {
      readonly type: 'activity';
      readonly service: 'MEMORY' | 'KNOWLEDGE_BASE' | 'ACTION_GROUP';
      /** Which knowledge base, action group or memory; null where nothing says. */
      readonly name: string | null;
      /** Null: unknown. */
      readonly latencyMs: number | null;
      /** Passages that it brought back. */
      readonly results: number;
      readonly failed: boolean;
    }
  /** The agent answered, or refused, the call: what it names the call by, and its own session. */
  | { readonly type: 'request'; readonly requestId: string; readonly sessionId: string | null }
  /** A trace event was received: what it names its step by. Its content never leaves the adapter. */
  | { readonly type: 'trace'; readonly traceId: string | null };

/** Asks the agents. */
export interface AnswerSource {
  /**
   * The answer, part by part. Aborting `signal` ends the call to the agent and the iteration.
   * @throws AGENT_UNAVAILABLE, ISOLATION_VIOLATION (nothing of the passage has been yielded), each with `retryable` in its details.
   */
  answer(question: Question, signal: AbortSignal): AsyncIterable<AnswerPart>;
}

/** One turn as it is metered: written once, never changed. */
export interface TurnRecord extends TurnMetering {
  readonly turnId: string;
  readonly conversationId: string;
  readonly userId: string;
  readonly agentId: string;
  readonly signInId: string | null;
  /** Whether it is the first turn of its conversation. */
  readonly first: boolean;
  readonly status: Exclude<Message['status'], 'STREAMING'>;
  readonly errorCode: string | null;
}

/** What a turn turned out to have used after it was recorded: the difference, for better or worse. */
export interface LateTokens {
  readonly turnId: string;
  readonly userId: string;
  readonly agentId: string;
  readonly inputTokens: number;
  readonly outputTokens: number;
  readonly estimatedTokens: number;
  readonly models: readonly ModelUse[];
}

/** Counts turns as usage. Recording the same again changes nothing. */
export interface TurnMeter {
  recordTurn(record: TurnRecord): Promise<void>;
  /** What was recorded of a turn; null where nothing was, or it is kept no more. */
  recorded(turnId: string): Promise<Pick<TurnRecord, 'agentId' | 'models'> | null>;
  recordLateTokens(late: LateTokens): Promise<void>;
}

/** The tokens the tenant may still use. */
export interface TokenQuota {
  /** Holds tokens for a turn. @throws QUOTA_EXCEEDED with `limit`, `remaining`, `resetAt`; whatever the store throws: without an answer there are no tokens. */
  reserve(turnId: string): Promise<void>;
  /** Holds more for a turn that has used more than it holds. Never refuses: the tokens are used already. */
  raise(turnId: string, used: number): Promise<void>;
  /** Replaces the hold by what was used. Without a hold nothing changes. `fence`: a reserve of the same turn that comes later fails. */
  settle(turnId: string, used: number, options?: { readonly fence?: boolean }): Promise<void>;
  /** Counts what a turn turned out to have used after it was settled. Doing it again changes nothing. */
  settleLate(turnId: string, tokens: number): Promise<void>;
}

/** The agents a tenant may talk to. */
export interface AgentChoice {
  /** The named agent, or the default one for null; null when the tenant has no such agent. */
  choose(agentId: string | null): { readonly id: string; readonly name: string } | null;
}

/** Everything of one tenant that a turn touches: made for the tenant, so that no call names it. */
export interface ConversationStores {
  readonly conversations: ConversationStore;
  readonly messages: MessageStore;
  readonly turns: TurnStore;
  readonly streams: StreamLog;
  readonly meter: TurnMeter;
  readonly quota: TokenQuota;
}
