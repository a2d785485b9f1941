import type { TenantId } from '../tenancy/tenant-id.ts';
import type { TurnEvent, UsageEvent } from './model.ts';
import type { PeriodKind, Span } from './periods.ts';
import type { Tally } from './tally.ts';

/** What is known of a closed hour or day without its users. */
export type BaseTally = Omit<Tally, 'users'>;

/** An hour or a day that has events. */
export interface PeriodHead {
  readonly name: string;
  /** Its sums; null while it is open, and again when an event came after it was closed. */
  readonly closed: { readonly generation: number; readonly tally: BaseTally } | null;
}

/** A closing that has begun. */
export interface Closing {
  readonly generation: number;
  /** How many events had come late when it began. */
  readonly late: number;
}

/** The parts of a closed period that are read on their own. */
export interface PeriodParts {
  /** Of an hour: the tally of each of its minutes that has events, by the minute's number, users included. */
  readonly MINUTES: Readonly<Record<string, Tally>>;
  readonly USERS: Tally['users'];
}

/** An event as it is kept, by a name that no other event of the tenant has: a ULID of the event's time, perhaps with more behind it. */
export interface StoredEvent {
  readonly id: string;
  readonly event: UsageEvent;
}

/** The usage events of one tenant, and their sums. An event's id is a ULID, and its time is the event's time. */
export interface UsageStore {
  /**
   * Stores an event; one that is stored already stays as it is. An event whose hour is over opens that hour and its day again.
   * It is done only when it returns: repeating it after a crash repairs whatever is missing. An event that would not be kept any more
   * is not stored, and a period that cannot be closed any more is not opened.
   */
  record(event: UsageEvent): Promise<void>;
  /** What was recorded of a turn. */
  turn(turnId: string): Promise<TurnEvent | null>;
  /** The events whose time lies in [startMs, endMs), in no particular order. */
  events(startMs: number, endMs: number): AsyncIterable<UsageEvent>;
  /**
   * The same events in the order of their ids, which is that of their times; with `after`, only those behind that id. It reads as far
   * ahead as one page and no further, so a reader that waits makes it wait, and an hour may have any number of events.
   */
  ordered(period: {
    readonly startMs: number;
    readonly endMs: number;
    readonly after: string | null;
  }): AsyncIterable<StoredEvent>;
  /** The hours or days with events that lie, wholly or in part, in the span; in order. */
  heads(kind: PeriodKind, span: Span): Promise<readonly PeriodHead[]>;
  /** Whether everything that a period is the sum of is still kept: else closing it would wipe what is known of it. */
  canClose(kind: PeriodKind, name: string): boolean;
  /** Has a period not looked at any more. */
  closeNoMore(kind: PeriodKind, name: string): Promise<void>;
  /** Begins to close a period: a later closing takes over from an earlier one that is not finished. */
  beginClosing(kind: PeriodKind, name: string): Promise<Closing>;
  writePart<P extends keyof PeriodParts>(
    kind: PeriodKind,
    name: string,
    generation: number,
    part: P,
    value: PeriodParts[P],
  ): Promise<void>;
  /** Closes it, and has it looked at again at `dueAt` (null: no more). False when another closing began, or an event came late. */
  finishClosing(
    kind: PeriodKind,
    name: string,
    closing: Closing,
    result: { readonly tally: BaseTally; readonly dueAt: number | null },
  ): Promise<boolean>;
  /** Removes the parts of every other generation. */
  dropOldParts(kind: PeriodKind, name: string, generation: number): Promise<void>;
  /** The parts of closed periods, each with its period's name; those of the generations named, in order. One is held at a time. */
  readParts<P extends keyof PeriodParts>(
    kind: PeriodKind,
    part: P,
    generations: ReadonlyMap<string, number>,
  ): AsyncIterable<readonly [name: string, part: PeriodParts[P]]>;
}

/** Until when usage is kept, in milliseconds since the Unix epoch: from that moment on it is there no longer. */
export interface UsageRetention {
  /** An event of an hour. All of one kind in an hour go together. */
  eventUntil(kind: UsageEvent['kind'], hour: string): number;
  /** The sums of a period. */
  sumsUntil(kind: PeriodKind, name: string): number;
  /** Until when everything is there that a period is the sum of. */
  closableUntil(kind: PeriodKind, name: string): number;
}

/** Tells every instance that a tenant's counters are not what they were. Best effort: what is lost, the next change brings. */
export interface UsageChanges {
  changed(tenantId: TenantId): void;
  /** The returned function ends it. */
  onChange(tenantId: TenantId, listener: () => void): () => void;
}

/** Hours of any tenant that are to be closed. Known to background work only. */
export interface DueHours {
  due(now: number): Promise<readonly { readonly tenantId: TenantId; readonly hour: string }[]>;
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
  /** `day`: whose use is wanted; without it `usedOnDay` is 0. */
  state(month: string, day?: string): Promise<QuotaState>;
  /** Holds tokens for a turn, unless a limit is reached. Returns what stood against it, or null when the tokens are held. */
  reserve(turnId: string, period: QuotaPeriod, tokens: number, limits: TokenLimits): Promise<QuotaState | null>;
  /** Raises a hold. False when it is not `from` any more, or the month's limit is reached. */
  raise(
    turnId: string,
    period: QuotaPeriod,
    change: { readonly from: number; readonly to: number },
    limits: TokenLimits,
  ): Promise<boolean>;
  /**
   * Replaces a hold by what was used, if it is still `held`, and returns what is used and held then; null when nothing was changed.
   * `fence` also refuses the turn any later hold.
   */
  settle(
    turnId: string,
    period: QuotaPeriod,
    change: { readonly held: number; readonly used: number; readonly fence: boolean },
  ): Promise<QuotaState | null>;
  /** Refuses a turn without a hold any later one. False when it has one. */
  fence(turnId: string, period: QuotaPeriod): Promise<boolean>;
  /** Adds tokens once: a second time under the same name, which is kept like a fence, changes nothing. */
  addOnce(name: string, period: QuotaPeriod, tokens: number): Promise<void>;
  /** Forgets fences. */
  dropFences(month: string, names: readonly string[]): Promise<void>;
}
