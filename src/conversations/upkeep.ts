import type { Clock } from '../kernel/clock.ts';
import { every } from '../kernel/repeating.ts';
import type { TurnMetering } from './metering.ts';
import type { ConversationStores } from './ports.ts';
import { answerId, type PlacedTurn } from './turn-end.ts';

/** How long a turn may go unrenewed before another instance may repair it, in milliseconds. */
export const LEASE_MS = 60_000;
/** How often the lease is renewed, and the partial answer stored, while the turn runs. */
export const RENEW_EVERY_MS = 20_000;
export const CHECKPOINT_EVERY_MS = 10_000;

/** Why a generation stops before its answer has ended. LOST: another process has taken the turn over. */
export type StopReason = 'CANCELLED' | 'INTERRUPTED' | 'LOST';

export interface Upkeep {
  /** Stores what there is of the answer, and holds more tokens if it used more. */
  checkpoint(): Promise<void>;
  /** Whether another process has taken the turn over. */
  lost(): boolean;
  stop(): void;
}

export interface UpkeepDependencies {
  readonly turn: PlacedTurn;
  readonly stores: ConversationStores;
  readonly clock: Clock;
  readonly stop: (reason: StopReason) => void;
  readonly draft: () => { readonly content: string; readonly metering: TurnMetering };
  readonly failed: (error: unknown) => void;
}

/** While a turn waits or runs: renews its lease, notices a cancellation asked for elsewhere, and stores what there is of the answer. */
export function keepUp({ turn, stores, clock, stop, draft, failed }: UpkeepDependencies): Upkeep {
  let lost = false;

  async function renew() {
    const renewed = await stores.turns.renew(turn, clock.now() + LEASE_MS);
    if (renewed === null) {
      lost = true;
      stop('LOST');
    } else if (renewed.cancelRequested) stop('CANCELLED');
  }

  async function checkpoint() {
    const { content, metering } = draft();
    await stores.messages.checkpoint(answerId(turn), { content, metering });
    await stores.quota.raise(turn.id, metering.inputTokens + metering.outputTokens);
  }

  // A failure is not the end of the turn: the next try may do, and if none does the lease runs out.
  const stops = [
    every(clock, RENEW_EVERY_MS, () => void renew().catch(failed)),
    every(clock, CHECKPOINT_EVERY_MS, () => void checkpoint().catch(failed)),
  ];
  return { checkpoint, lost: () => lost, stop: () => stops.forEach((stopOne) => stopOne()) };
}
