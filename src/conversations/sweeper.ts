import { isoTime, type Clock } from '../kernel/clock.ts';
import { repeat } from '../kernel/repeating.ts';
import type { TenantId } from '../tenancy/tenant-id.ts';
import { NOTHING_USED, withUnreported } from './metering.ts';
import type { Turn } from './model.ts';
import type { ClaimedTurn, ConversationState, ConversationStores, DueWork, DueWorkStore, TurnRecord } from './ports.ts';
import {
  answerId,
  endAnswer,
  endTurn,
  INTERRUPTED_END,
  meterTurn,
  recordOf,
  turnMessages,
  TURN_KEEP_MS,
  type AnswerEnd,
  type PlacedTurn,
} from './turn-end.ts';
import { LEASE_MS } from './upkeep.ts';

/** How often each instance looks for work that was left behind. */
export const SWEEP_EVERY_MS = 10_000;
/** Pieces that are repaired at the same time: a crash leaves as many turns as ran and waited, and each takes a dozen requests. */
const AT_ONCE = 10;
/** Repairs of one turn that may fail before it is put aside. */
export const REPAIRS_MAX = 5;

export interface Sweeper {
  /** Repairs everything that is due now; returns how many pieces it finished. */
  sweep(): Promise<number>;
  /** Sweeps now and every 10 s; the returned function stops that, and resolves when no sweep is under way. */
  start(): () => Promise<void>;
}

export interface SweepLog {
  repaired(work: DueWork): void;
  /** A round failed (null), or one piece of work, which will be tried again. */
  sweepFailed(work: DueWork | null, error: unknown): void;
  /** A turn was put aside, because its repair failed too often. */
  parked(work: DueWork, error: unknown): void;
}

export interface SweeperDependencies {
  readonly due: Pick<DueWorkStore, 'due'>;
  readonly storesOf: (tenantId: TenantId) => ConversationStores;
  readonly clock: Clock;
  readonly log: SweepLog;
}

/**
 * Ends what a process left behind when it died: turns whose lease ran out, and deletions that stopped half-way. It claims a
 * turn by its lease, so of several sweepers one does the work, and then takes the same steps as the turn itself would have.
 */
export function createSweeper({ due, storesOf, clock, log }: SweeperDependencies): Sweeper {
  async function repair(work: DueWork): Promise<boolean> {
    const stores = storesOf(work.tenantId);
    if (work.kind === 'DELETION') return finishDeletion(stores, work.conversationId);
    const turn = await stores.turns.claim(work.turnKey, clock.now(), clock.now() + LEASE_MS);
    if (!turn) return false;
    try {
      // More claims than tries: whoever claimed it died of it each time.
      if (turn.repairs > REPAIRS_MAX) throw new Error('Every process that tried to repair this turn ended over it.');
      await repairTurn(stores, turn, clock);
      return true;
    } catch (error) {
      if (turn.repairs < REPAIRS_MAX) throw error;
      await parkTurn(stores, turn, clock);
      log.parked(work, error);
      return false;
    }
  }

  async function sweep() {
    const found = (await due.due(clock.now())).values();
    let finished = 0;
    async function workOff() {
      for (const work of found) {
        try {
          if (!(await repair(work))) continue;
          finished++;
          log.repaired(work);
        } catch (error) {
          log.sweepFailed(work, error); // one piece that cannot be repaired must not hold up the others
        }
      }
    }
    await Promise.all(Array.from({ length: AT_ONCE }, workOff));
    return finished;
  }

  return {
    sweep,
    start: () =>
      repeat({ clock, everyMs: SWEEP_EVERY_MS, task: sweep, failed: (error) => log.sweepFailed(null, error) }),
  };
}

async function finishDeletion(stores: ConversationStores, conversationId: string): Promise<boolean> {
  const state = await stores.conversations.state(conversationId);
  if (!state?.deleting) return false;
  const turn = state.lock && (await stores.turns.get(state.lock.turnKey));
  if (turn && !turn.done && !turn.parked) return false; // it ends first, by itself or by repair
  await stores.conversations.purge(conversationId);
  return true;
}

/** The place of a turn's messages: what its row says, or the lock that it took. */
const sequenceOf = (turn: Turn, state: ConversationState | null): number | null =>
  turn.sequence ?? (state?.lock?.turnId === turn.id ? state.lock.sequence : null);

/** Puts a turn aside that cannot be repaired, so that its conversation is usable again. Its answer ends if that can be stored at all. */
async function parkTurn(stores: ConversationStores, turn: ClaimedTurn, clock: Clock): Promise<void> {
  const state = await stores.conversations.state(turn.conversationId).catch(() => null); // it may be what cannot be read
  const sequence = sequenceOf(turn, state);
  const ended = sequence === null ? null : await endLeft(stores, { ...turn, sequence }, clock).catch(() => null);
  await stores.turns.park(turn, { sequence, unmetered: ended ?? turn.unmetered }, clock.now());
  await stores.conversations.unlock(turn);
}

/** Ends the answer of a turn that is put aside, and returns what is to be metered: its conversation may be deleted meanwhile. */
async function endLeft(stores: ConversationStores, turn: PlacedTurn, clock: Clock): Promise<TurnRecord | null> {
  const end = await endOfLeft(stores, turn).catch(() => INTERRUPTED_END);
  const ended = await endAnswer(stores, turn, end, clock);
  return ended && recordOf(turn, ended);
}

async function repairTurn(stores: ConversationStores, turn: ClaimedTurn, clock: Clock): Promise<void> {
  const state = await stores.conversations.state(turn.conversationId);
  const sequence = sequenceOf(turn, state);
  if (!state || sequence === null) {
    await meterTurn(stores, turn, turn.unmetered, { fence: true });
    return stores.turns.finish(turn, clock.now() + TURN_KEEP_MS);
  }

  const placed: PlacedTurn = { ...turn, sequence };
  if (!state.deleting) {
    const [question, answer] = turnMessages(placed, state.conversation, isoTime(clock.now()));
    await stores.messages.add(question, placed);
    await stores.messages.add(answer, placed);
  }
  await stores.turns.placed(placed, sequence);
  await endTurn(stores, placed, await endOfLeft(stores, placed), clock, turn);
}

/** The end of an answer whose process is gone, with the text and the usage that it left behind. */
async function endOfLeft(stores: ConversationStores, turn: PlacedTurn): Promise<AnswerEnd> {
  const draft = await stores.messages.draft(answerId(turn));
  const progress = await stores.streams.progress(answerId(turn));
  const stored = draft?.message.content ?? '';
  // The stream may know more than the last checkpoint, or less, where it was out of reach for a while.
  const content = progress && (progress.withheld || progress.text.length > stored.length) ? progress.text : stored;
  return {
    ...INTERRUPTED_END,
    ...(turn.cancelRequested && { status: 'CANCELLED', error: null }),
    content,
    metering: withUnreported(draft?.metering ?? NOTHING_USED, {
      questionCharacters: turn.content?.length ?? 0,
      moreCharacters: Math.max(0, content.length - stored.length),
    }),
    eventCount: progress?.lastEvent ?? 0,
  };
}
