import { isoTime } from '../kernel/clock.ts';
import { AppError } from '../kernel/errors.ts';
import { ulidTime } from '../kernel/ids.ts';
import type { QuotaPeriod, QuotaState, QuotaStore, TokenLimits } from './ports.ts';

/** The tokens of one tenant: reserved before an agent is asked, settled when the answer has ended. */
export interface TokenQuota {
  /** @throws QUOTA_EXCEEDED with `limit`, `remaining`, `resetAt`. */
  reserve(turnId: string): Promise<void>;
  /** Holds more for a turn that used more than it reserved. Never refuses: the tokens are used already. */
  raise(turnId: string, used: number): Promise<void>;
  /** Replaces the hold by what was used; without a hold nothing is changed. `fence`: a late reserve of the same turn fails. */
  settle(turnId: string, used: number, options?: { readonly fence?: boolean }): Promise<void>;
  /** Counts what a turn turned out to have used after it was settled. Doing it again changes nothing. */
  settleLate(turnId: string, tokens: number): Promise<void>;
}

export interface TokenQuotaDependencies {
  readonly store: QuotaStore;
  readonly limits: TokenLimits;
  /** Held for a turn whose use nobody knows yet. */
  readonly reserveTokens: number;
  /** Told when the tenant's counters have changed. */
  readonly changed: () => void;
  /** Told what was used, whenever a turn has been settled. */
  readonly settled?: (use: SettledUse) => void;
}

/** What a tenant has used in a day and a month, without what is held for turns that have not ended. */
export interface SettledUse extends QuotaPeriod {
  readonly usedInMonth: number;
  readonly usedOnDay: number;
}

/** The month and the day of a turn, and the moments at which they end. */
export const periodOf = (turnId: string) => periodAt(ulidTime(turnId));

function periodAt(ms: number): QuotaPeriod & { readonly dayEnds: string; readonly monthEnds: string } {
  const at = new Date(ms);
  const [year, month, day] = [at.getUTCFullYear(), at.getUTCMonth(), at.getUTCDate()];
  return {
    month: at.toISOString().slice(0, 7),
    day: at.toISOString().slice(8, 10),
    dayEnds: isoTime(Date.UTC(year, month, day + 1)),
    monthEnds: isoTime(Date.UTC(year, month + 1)),
  };
}

function settledUse({ month, day }: QuotaPeriod, { usedInMonth, usedOnDay, holds }: QuotaState): SettledUse {
  const held = Object.entries(holds);
  const sum = (entries: typeof held) => entries.reduce((total, [, tokens]) => total + tokens, 0);
  const ofDay = held.filter(([turnId]) => periodOf(turnId).day === day);
  return { month, day, usedInMonth: usedInMonth - sum(held), usedOnDay: usedOnDay - sum(ofDay) };
}

/** What was used on the day and in the month of a moment, as far as turns have ended. */
export async function useAt(store: QuotaStore, ms: number): Promise<SettledUse> {
  const period = periodAt(ms);
  return settledUse(period, await store.state(period.month, period.day));
}

const exceeded = (what: string, limit: number, resetAt: string) =>
  new AppError('QUOTA_EXCEEDED', `The tenant's tokens of this ${what} are used up.`, { limit, remaining: 0, resetAt });

export function createTokenQuota({
  store,
  limits,
  reserveTokens,
  changed,
  settled,
}: TokenQuotaDependencies): TokenQuota {
  /** What this process holds, by turn: a first guess, which the store's conditions check. */
  const held = new Map<string, number>();

  return {
    async reserve(turnId) {
      const period = periodOf(turnId);
      const { tokensPerDay, tokensPerMonth } = limits;
      for (;;) {
        const against = await store.reserve(turnId, period, reserveTokens, limits);
        if (against === null) {
          held.set(turnId, reserveTokens);
          return changed();
        }
        if (tokensPerMonth !== null && against.usedInMonth >= tokensPerMonth)
          throw exceeded('month', tokensPerMonth, period.monthEnds);
        if (tokensPerDay !== null && against.usedOnDay >= tokensPerDay)
          throw exceeded('day', tokensPerDay, period.dayEnds);
        if (against.fenced.includes(turnId))
          throw new AppError('INTERRUPTED', 'The turn was given up meanwhile.', { retryable: true });
        // Nothing stands against it any more: another turn gave tokens back after this one was refused.
      }
    },

    async raise(turnId, used) {
      const from = held.get(turnId);
      if (from === undefined || used <= from) return;
      const to = Math.ceil(used / reserveTokens) * reserveTokens;
      if (await store.raise(turnId, periodOf(turnId), { from, to }, limits)) held.set(turnId, to);
    },

    async settle(turnId, used, { fence = false } = {}) {
      const period = periodOf(turnId);
      let guess = held.get(turnId) ?? reserveTokens;
      held.delete(turnId);
      for (;;) {
        const state = await store.settle(turnId, period, { held: guess, used, fence });
        if (state !== null) {
          settled?.(settledUse(period, state));
          return changed();
        }
        const hold = (await store.state(period.month)).holds[turnId];
        if (hold !== undefined) guess = hold;
        else if (!fence || (await store.fence(turnId, period))) return; // settled before, or never held
      }
    },

    settleLate: (turnId, tokens) => store.addOnce(`${turnId}.late`, periodOf(turnId), tokens),
  };
}
