import { createHash } from 'node:crypto';
import { isoTime, sleep, type Clock } from '../kernel/clock.ts';
import { AppError, badInput } from '../kernel/errors.ts';
import { ulid } from '../kernel/ids.ts';
import { isOperator, signInOf } from '../tenancy/principal.ts';
import { maySee, owns, requireOwner, type TenantScope } from '../tenancy/scope.ts';
import type { Place } from './fair-queue.ts';
import type { Generations } from './generation.ts';
import { checkContent, checkIdempotencyKey } from './input.ts';
import {
  isConversationId,
  isTerminal,
  messageId,
  type Conversation,
  type Message,
  type StreamEvent,
  type Turn,
} from './model.ts';
import type { ConversationLock, ConversationState, ConversationStores, LockResult } from './ports.ts';
import { conversationNotFound, type ConversationService } from './service.ts';
import { endTurn, INTERRUPTED, INTERRUPTED_END, turnMessages, type PlacedTurn } from './turn-end.ts';
import { LEASE_MS } from './upkeep.ts';
import { followAnswer, withProgress } from './watching.ts';

/** How long `waitForCompletion` waits: below the minute at which proxies commonly give up. */
export const COMPLETION_WAIT_MS = 55_000;
/** How long a cancellation waits for the turn to end before it answers with the message as it is. */
export const CANCEL_WAIT_MS = 5_000;
/** A turn that has not begun when its lease has only this left is given up: clocks of instances may differ by as much. */
const BEGIN_MARGIN_MS = 10_000;
/** How often, and how many times, a repeated send looks for messages that the first one is about to store. */
const ATTACH_EVERY_MS = 50;
const ATTACH_TRIES = 100;

export interface SendInput {
  readonly conversationId: string;
  readonly content: string;
  readonly idempotencyKey?: string | null | undefined;
  readonly waitForCompletion?: boolean | null | undefined;
}

export interface SentTurn {
  readonly userMessage: Message;
  readonly assistantMessage: Message;
  readonly conversation: Conversation;
}

/** The turns of one tenant, as one caller may begin, follow and stop them. */
export interface TurnService {
  /**
   * Stores the message and starts the answer. A refusal stores nothing and leaves the key free.
   * @throws BAD_USER_INPUT, also for a second `waitForCompletion` of the same operation; NOT_FOUND; FORBIDDEN when the caller sees the conversation but does not own it;
   *   CONVERSATION_BUSY with `messageId`; IDEMPOTENCY_CONFLICT; RATE_LIMITED with `retryAfterMs` when too many turns wait;
   *   QUOTA_EXCEEDED before the agent is asked.
   */
  send(input: SendInput): Promise<SentTurn>;
  /** Stops an answer and returns it as it then is. @throws NOT_FOUND, FORBIDDEN; BAD_USER_INPUT for a message that is no answer. */
  cancel(messageId: string): Promise<Message>;
  /** The events of an answer's stream after `after`. @throws NOT_FOUND, BAD_USER_INPUT. */
  watch(messageId: string, after: number): Promise<AsyncIterableIterator<StreamEvent>>;
  /** Deletes a conversation: gone at once for every reader, its rows soon after. @throws NOT_FOUND, FORBIDDEN. */
  delete(conversationId: string): Promise<void>;
}

export interface TurnServiceDependencies {
  readonly scope: TenantScope;
  readonly knowledgeBaseIds: readonly string[];
  /** Turns of the tenant that may run at the same time; null: any number. */
  readonly concurrentGenerations: number | null;
  readonly stores: ConversationStores;
  readonly conversations: Pick<ConversationService, 'find' | 'findMessage'>;
  readonly generations: Generations;
  readonly clock: Clock;
  /** Runs work that outlives the request, and logs its failure. */
  readonly background: (work: Promise<void>) => void;
}

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');

function turnKey(turnId: string, { conversationId }: SendInput, ownerId: string, key: string | null): string {
  if (key === null) return turnId;
  return sha256(JSON.stringify([ownerId, conversationId, key]));
}

export function createTurnService(deps: TurnServiceDependencies): TurnService {
  const { scope, stores, generations, clock } = deps;
  let waits = false;

  function newTurn(input: SendInput): Turn {
    const id = ulid(clock.now());
    const ownerId = scope.principal.userId;
    const content = checkContent(input.content);
    return {
      tenantId: scope.tenantId,
      id,
      key: turnKey(id, input, ownerId, checkIdempotencyKey(input.idempotencyKey)),
      conversationId: input.conversationId,
      ownerId,
      signInId: signInOf(scope.principal),
      content,
      contentDigest: sha256(content),
      sequence: null,
      leaseUntil: clock.now() + LEASE_MS,
      cancelRequested: false,
      done: false,
      repairs: 0,
      parked: false,
      reported: null,
    };
  }

  /** Mutations run one after the other: several that wait would hold a connection for as long as their sender likes. */
  function waitOnce() {
    if (waits) throw badInput('An operation may wait for one answer only.', 'waitForCompletion');
    waits = true;
  }

  async function lock(turn: Turn, at: string): Promise<LockResult> {
    const result = await stores.conversations.lock(turn, at);
    if (result.locked || !result.state?.lock || !owns(scope, result.state.conversation.ownerId)) return result;
    const held = result.state.lock;
    // A turn that has ended and a lock it left behind: the only case in which a lock is taken over.
    const holder = await stores.turns.get(held.turnKey);
    const ended = !holder || holder.done || holder.parked || holder.id !== held.turnId;
    if (!ended) return result;
    const stored = await stores.messages.draft(messageId(turn.conversationId, held.sequence));
    // One that was put aside keeps its numbers: its messages are written when it is retried.
    const used = stored !== null || holder?.parked === true;
    return stores.conversations.lock(turn, at, { ...held, used });
  }

  /** Lock ∥ tokens: from here on the turn is ours to end. A refusal of either undoes the other, and frees the key. */
  async function begin(turn: Turn, at: string): Promise<{ turn: PlacedTurn; conversation: Conversation }> {
    const [locked, reserved] = await Promise.allSettled([lock(turn, at), stores.quota.reserve(turn.id)]);
    if (locked.status === 'rejected') throw locked.reason; // whether it is locked only the sweeper will know
    const result = locked.value;
    // After so long another may have ended the turn before it was locked: messages that were stored now would never end.
    const tooLate = clock.now() > turn.leaseUntil - BEGIN_MARGIN_MS;
    if (result.locked && reserved.status === 'fulfilled' && !tooLate) {
      return { turn: { ...turn, sequence: result.sequence }, conversation: result.locked };
    }
    // Whoever has taken the turn meanwhile ends it, with messages at the numbers that were locked.
    if (!(await stores.turns.renew(turn, clock.now() + LEASE_MS))) throw interrupted();
    if (result.locked) await stores.conversations.revert(turn);
    await stores.quota.settle(turn.id, 0, {
      fence: reserved.status === 'rejected' && !isQuotaRefusal(reserved.reason),
    });
    await stores.turns.discard(turn);
    if (!result.locked) throw lockRefusal(scope, result.state);
    throw reserved.status === 'rejected' ? reserved.reason : interrupted();
  }

  async function start(turn: Turn, place: Place): Promise<SentTurn> {
    const at = isoTime(clock.now());
    const { turn: placed, conversation } = await begin(turn, at);
    const [userMessage, assistantMessage] = turnMessages(placed, conversation, at);
    const [current] = await Promise.all([
      stores.turns.placed(placed, placed.sequence),
      stores.messages.add(userMessage, placed),
      stores.messages.add(assistantMessage, placed),
      stores.streams.open(assistantMessage.id),
    ]);
    if (!current) return giveUp(placed);
    generations.start({ turn: placed, conversation, knowledgeBaseIds: deps.knowledgeBaseIds, stores, place });
    if (current.cancelRequested) generations.cancel(placed.id); // its conversation was deleted meanwhile
    return { userMessage, assistantMessage, conversation };
  }

  /** This process was taken for dead before the messages were stored, and the turn was ended without them: end them too. */
  async function giveUp(turn: PlacedTurn): Promise<never> {
    await endTurn(stores, turn, INTERRUPTED_END, clock);
    throw interrupted();
  }

  /** The messages of a turn that an earlier call with the same key began; null when that call was refused meanwhile. */
  async function attach(turn: Turn, first: Turn): Promise<SentTurn | null> {
    if (isGivenUp(first)) return null;
    if (first.contentDigest !== turn.contentDigest) {
      throw new AppError('IDEMPOTENCY_CONFLICT', 'This idempotency key was used for other content.');
    }
    let current: Turn | null = first;
    for (let tries = 0; current && tries < ATTACH_TRIES; tries++) {
      const messages = await messagesOf(current);
      if (messages) {
        const conversation = await deps.conversations.find(current.conversationId);
        if (!conversation) throw conversationNotFound();
        return { ...messages, conversation };
      }
      if (current.done) break;
      await sleep(clock, ATTACH_EVERY_MS);
      current = await stores.turns.get(turn.key);
    }
    // Refused, or given up before it had messages: the key is free again.
    if (!current || isGivenUp(current)) return null;
    // Stored long ago and deleted since, or a first call that is very slow.
    throw current.done ? conversationNotFound() : busy(null);
  }

  /** Both messages of a turn, once they are stored. */
  async function messagesOf({ conversationId, sequence }: Turn) {
    if (sequence === null) return null;
    const ids = [messageId(conversationId, sequence), messageId(conversationId, sequence + 1)];
    const [userMessage, assistantMessage] = await stores.messages.getMany(ids);
    if (!userMessage || !assistantMessage) return null;
    return { userMessage, assistantMessage: await withProgress(stores.streams, assistantMessage) };
  }

  async function startOrAttach(turn: Turn): Promise<SentTurn> {
    const place = await enter(turn);
    if ('sent' in place) return place.sent;
    try {
      const opened = await stores.turns.open(turn);
      if (opened.opened) return await start(turn, place);
      place.leave();
      return (opened.existing && (await attach(turn, opened.existing))) || (await startOrAttach(turn));
    } catch (error) {
      place.leave();
      throw error;
    }
  }

  /** A place in the queue, before anything is stored. Where there is none, a repeated send still gets the turn that the first one began. */
  async function enter(turn: Turn): Promise<Place | { readonly sent: SentTurn }> {
    try {
      return generations.enter(scope.tenantId, turn.id, deps.concurrentGenerations);
    } catch (refusal) {
      const first = turn.key === turn.id ? null : await stores.turns.get(turn.key);
      const sent = first && (await attach(turn, first));
      if (sent) return { sent };
      throw refusal;
    }
  }

  /** Waits for the end of an answer, at most `ms`, and returns the message as it then is. */
  async function awaitEnd(message: Message, ms: number): Promise<Message> {
    const deadline = clock.now() + ms;
    while (clock.now() < deadline) {
      const ended = await endWithin(message, deadline - clock.now());
      if (ended) return ended;
    }
    const [stored] = await stores.messages.getMany([message.id]);
    return withProgress(stores.streams, stored ?? message);
  }

  /** The end of an answer; null when the time is over, or the stream breaks off. */
  async function endWithin(message: Message, ms: number): Promise<Message | null> {
    const left = new AbortController();
    const events = await followAnswer({ stores, clock }, message, 0);
    void sleep(clock, ms, left.signal).then(() => events.return?.());
    try {
      for await (const event of events) if (isTerminal(event)) return event.message;
    } catch (error) {
      if (!(error instanceof AppError)) throw error;
    } finally {
      left.abort();
    }
    return null;
  }

  return {
    async send(input) {
      if (isOperator(scope.principal)) throw new AppError('FORBIDDEN', 'A platform operator may not send messages.');
      if (!generations.accepting()) throw new AppError('INTERRUPTED', 'The server is stopping.', { retryable: true });
      if (input.waitForCompletion) waitOnce();
      const turn = newTurn(input);
      if (!isConversationId(input.conversationId)) throw conversationNotFound();
      const sent = await startOrAttach(turn);
      if (!input.waitForCompletion) return sent;
      return { ...sent, assistantMessage: await awaitEnd(sent.assistantMessage, COMPLETION_WAIT_MS) };
    },

    async cancel(id) {
      const message = await deps.conversations.findMessage(id);
      if (!message) throw messageNotFound();
      requireOwner(scope, message.ownerId, 'cancel its answers');
      if (message.role !== 'ASSISTANT') throw badInput('Only an answer can be cancelled.', 'messageId');
      if (message.status !== 'STREAMING') return message;
      const key = await stores.messages.turnKey(id);
      const turn = key === null ? null : await stores.turns.requestCancel(key);
      if (turn) generations.cancel(turn.id);
      return awaitEnd(message, CANCEL_WAIT_MS);
    },

    async watch(id, after) {
      if (after < 0) throw badInput('`after` is a sequence number: 0 or more.', 'after');
      const message = await deps.conversations.findMessage(id);
      if (!message) throw messageNotFound();
      return followAnswer({ stores, clock }, message, after);
    },

    async delete(conversationId) {
      const conversation = await deps.conversations.find(conversationId);
      if (!conversation) throw conversationNotFound();
      const state = await stores.conversations.markDeleting(conversationId, clock.now() + LEASE_MS);
      if (!state) throw conversationNotFound();
      deps.background(removeAfterTurn(conversationId, state.lock));
    },
  };

  async function removeAfterTurn(conversationId: string, lock: ConversationLock | null) {
    if (lock) {
      const turn = await stores.turns.requestCancel(lock.turnKey);
      generations.cancel(lock.turnId);
      await generations.settled(lock.turnId);
      // A turn that runs elsewhere is awaited by the sweeper, which finds the conversation due.
      if (turn && (await stores.turns.get(lock.turnKey))?.done === false) return;
    }
    await stores.conversations.purge(conversationId);
  }
}

const busy = (messageId: string | null) =>
  new AppError('CONVERSATION_BUSY', 'A turn is running in this conversation.', messageId === null ? {} : { messageId });

const interrupted = () => new AppError('INTERRUPTED', INTERRUPTED.message, { retryable: true });

/** Ended before it had messages, so that its key is free. */
const isGivenUp = ({ done, sequence }: Turn) => done && sequence === null;

const isQuotaRefusal = (error: unknown) => error instanceof AppError && error.code === 'QUOTA_EXCEEDED';

const messageNotFound = () => new AppError('NOT_FOUND', 'There is no such message.');

/** Why a lock was refused, told only as far as the caller may know. */
function lockRefusal(scope: TenantScope, state: ConversationState | null): AppError {
  if (!state || state.deleting || !maySee(scope, state.conversation.ownerId)) return conversationNotFound();
  if (!owns(scope, state.conversation.ownerId)) {
    return new AppError('FORBIDDEN', "Only the conversation's owner may send in it.");
  }
  return busy(state.lock && messageId(state.conversation.id, state.lock.sequence + 1));
}
