import type { UsageEvent } from './model.ts';

/** The usage events of one tenant. An event's id is a ULID, and its time is the event's time. */
export interface UsageStore {
  /** Stores an event; one that is stored already stays as it is. */
  record(event: UsageEvent): Promise<void>;
  /** The events whose time lies in [startMs, endMs), in no particular order. */
  events(startMs: number, endMs: number): AsyncIterable<UsageEvent>;
}
