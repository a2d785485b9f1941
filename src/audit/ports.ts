import type { TenantId } from '../tenancy/tenant-id.ts';
import type { ChainedEntry } from './model.ts';

/** Where an entry stands in its trail: its time and its id. Positions sort as their entries do. */
export type Position = string;

/** A part of a trail, newest first. */
export interface Slice {
  readonly entries: readonly ChainedEntry[];
  /** Where the reading stopped: behind everything that was looked at; null at the end. */
  readonly next: Position | null;
}

/** The trail of one tenant, or of the platform. Nothing in it is ever changed. */
export interface AuditStore {
  /** Stores an entry; one that is stored already stays as it is, so it may be repeated. */
  append(entry: ChainedEntry): Promise<void>;
  /** The days that have entries, from one to another, the newest first. */
  days(from: string, to: string): Promise<readonly string[]>;
  /**
   * The newest entries of a day, of an actor, or of what was done to a resource, from a position on and before another one, at most
   * 100 at a time. It takes one request of the store, two where it is not a day's.
   */
  slice(
    source: { readonly day: string } | { readonly actorId: string } | { readonly resource: string },
    span: { readonly from: Position; readonly before: Position },
    size: number,
  ): Promise<Slice>;
}

/** How many entries a writer's chain of a day has, and the MAC of the last one. */
export interface SealedChain {
  readonly writer: string;
  readonly entries: number;
  readonly last: string;
}

/** What a trail held of a day when it was over. */
export interface SealedDay {
  readonly tenantId: TenantId;
  readonly day: string;
  readonly chains: readonly SealedChain[];
  /** The MAC of the day before; empty for the first one. */
  readonly previous: string;
  readonly mac: string;
}

/** A trail as it is sealed and verified. */
export interface SealStore extends Pick<AuditStore, 'days'> {
  readonly tenantId: TenantId;
  /** The first day that has entries. */
  firstDay(): Promise<string | null>;
  /** The entries of a day, each with its place in the store, in the order of their places. */
  ofDay(day: string): AsyncIterable<{ readonly position: Position; readonly entry: ChainedEntry }>;
  /** False when the day is sealed already. */
  seal(day: SealedDay): Promise<boolean>;
  lastSeal(): Promise<SealedDay | null>;
  /** In order; both ends included. */
  seals(from: string, to: string): AsyncIterable<SealedDay>;
}

/** The trails of an installation. */
export interface AuditTrails {
  of(tenantId: TenantId): AuditStore & SealStore;
  /** Whose trails there are. */
  all(): AsyncIterable<TenantId>;
}

/** A file of entries that were recorded and not delivered yet, oldest first. */
export interface SpoolSegment {
  /** How long it is, in bytes. */
  bytes(): number;
  /** Whether it outlives the process. */
  readonly durable: boolean;
  /** Adds lines at its end. They are the kernel's when it resolves: the end of the process does not lose them. */
  append(lines: readonly string[]): Promise<void>;
  /** Whole lines from a position on, some 256 KB of them, and the position behind them; what a crash cut in the middle is left out. */
  read(from: number): Promise<{ readonly lines: readonly string[]; readonly next: number }>;
  remove(): Promise<void>;
}

/** Where entries wait until they are delivered. */
export interface AuditSpool {
  /** A new segment. */
  open(): Promise<SpoolSegment>;
  /** The segments of processes that are gone; each is given to one process. */
  adopt(): Promise<readonly SpoolSegment[]>;
  /** What was not removed stays for another process. */
  close(): Promise<void>;
}
