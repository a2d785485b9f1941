import type { UsageEvent } from './model.ts';

/** The usage events of one tenant. An event's id is a ULID, and its time is the event's time. */
export interface UsageStore {
  /** Stores an event; one that is stored already stays as it is. */
  record(event: UsageEvent): Promise<void>;
  /** The events whose time lies in [startMs, endMs), in no particular order. */
  events(startMs: number, endMs: number): AsyncIterable<UsageEvent>;
}

/** Tokens a tenant may use; null means unlimited. */
export interface TokenLimits {
  readonly tokensPerDay: number | null;
  readonly tokensPerMonth: number | null;
}

/** The UTC day and month a turn is counted in: always those of its id, whatever the clock says when it ends. */
export interface QuotaPeriod {
  /** `2026-11` */
  readonly month: string;
  /** `20` */
  readonly day: string;
}

/** What of a period is used and held. */
export interface QuotaState {
  readonly usedInMonth: number;
  readonly usedOnDay: number;
  /** Tokens held for turns that have not ended, by turn id. */
  readonly holds: Readonly<Record<string, number>>;
  /** Turns that may not reserve any more. */
  readonly fenced: readonly string[];
}

/** The quota of one tenant: one row a month, changed only by conditional writes, so that every step may be repeated. */
export interface QuotaStore {
  state(month: string): Promise<QuotaState>;
  /** Holds tokens for a turn, unless a limit is reached. Returns what stood against it, or null when the tokens are held. */
  reserve(turnId: string, period: QuotaPeriod, tokens: number, limits: TokenLimits): Promise<QuotaState | null>;
  /** Raises a hold. False when it is not `from` any more, or the month's limit is reached. */
  raise(
    turnId: string,
    period: QuotaPeriod,
    change: { readonly from: number; readonly to: number },
    limits: TokenLimits,
  ): Promise<boolean>;
  /** Replaces a hold by what was used, if it is still `held`. `fence` also refuses the turn any later hold. */
  settle(
    turnId: string,
    period: QuotaPeriod,
    change: { readonly held: number; readonly used: number; readonly fence: boolean },
  ): Promise<boolean>;
  /** Refuses a turn without a hold any later one. False when it has one. */
  fence(turnId: string, period: QuotaPeriod): Promise<boolean>;
  /** Adds tokens once: a second time under the same name, which is kept like a fence, changes nothing. */
  addOnce(name: string, period: QuotaPeriod, tokens: number): Promise<void>;
  /** Forgets fences. */
  dropFences(month: string, names: readonly string[]): Promise<void>;
}
