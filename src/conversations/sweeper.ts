import { isoTime, type Clock } from '../kernel/clock.ts';
import type { TenantId } from '../tenancy/tenant-id.ts';
import { LEASE_MS } from './generation.ts';
import { NOTHING_USED } from './metering.ts';
import type { Turn } from './model.ts';
import type { ConversationStores, DueWork, DueWorkStore } from './ports.ts';
import {
  answerId,
  endTurn,
  INTERRUPTED_END,
  turnMessages,
  TURN_KEEP_MS,
  type AnswerEnd,
  type PlacedTurn,
} from './turn-end.ts';

/** How often each instance looks for work that was left behind. */
export const SWEEP_EVERY_MS = 10_000;

export interface Sweeper {
  /** Repairs everything that is due now; returns how many pieces it finished. */
  sweep(): Promise<number>;
  /** Sweeps now and every 10 s; the returned function stops that, and resolves when no sweep is under way. */
  start(): () => Promise<void>;
}

export interface SweeperDependencies {
  readonly due: DueWorkStore;
  readonly storesOf: (tenantId: TenantId) => ConversationStores;
  readonly clock: Clock;
  readonly log: { sweepFailed(work: DueWork | null, error: unknown): void; repaired(work: DueWork): void };
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
    await repairTurn(stores, turn, clock);
    return true;
  }

  async function sweep() {
    let finished = 0;
    for (const work of await due.due(clock.now())) {
      try {
        if (!(await repair(work))) continue;
        finished++;
        log.repaired(work);
      } catch (error) {
        log.sweepFailed(work, error); // one piece that cannot be repaired must not hold up the others
      }
    }
    return finished;
  }

  return {
    sweep,
    start() {
      let stopped = false;
      let cancel = () => {};
      let round = Promise.resolve();
      const run = () => {
        round = sweep().then(
          () => plan(),
          (error: unknown) => {
            log.sweepFailed(null, error);
            plan();
          },
        );
      };
      const plan = () => {
        if (!stopped) cancel = clock.after(SWEEP_EVERY_MS, run);
      };
      run();
      return () => {
        stopped = true;
        cancel();
        return round;
      };
    },
  };
}

async function finishDeletion(stores: ConversationStores, conversationId: string): Promise<boolean> {
  const state = await stores.conversations.state(conversationId);
  if (!state?.deleting) return false;
  const turn = state.lock && (await stores.turns.get(state.lock.turnKey));
  if (turn && !turn.done) return false; // it ends first, by itself or by repair
  await stores.conversations.purge(conversationId);
  return true;
}

async function repairTurn(stores: ConversationStores, turn: Turn, clock: Clock): Promise<void> {
  const state = await stores.conversations.state(turn.conversationId);
  const sequence = turn.sequence ?? (state?.lock?.turnId === turn.id ? state.lock.sequence : null);
  if (!state || sequence === null) {
    await stores.quota.settle(turn.id, 0, { fence: true });
    return stores.turns.finish(turn, clock.now() + TURN_KEEP_MS);
  }

  const placed: PlacedTurn = { ...turn, sequence };
  const [question, answer] = turnMessages(placed, state.conversation, isoTime(clock.now()));
  await stores.messages.add(question, placed);
  await stores.messages.add(answer, placed);
  await stores.turns.placed(placed, sequence);
  const draft = await stores.messages.draft(answerId(placed));
  const progress = await stores.streams.progress(answerId(placed));
  const end: AnswerEnd = {
    ...INTERRUPTED_END,
    ...(turn.cancelRequested && { status: 'CANCELLED', error: null }),
    content: progress?.text ?? draft?.message.content ?? '',
    metering: draft?.metering ?? NOTHING_USED,
    eventCount: progress?.lastEvent ?? 0,
  };
  await endTurn(stores, placed, end, clock, true);
}
