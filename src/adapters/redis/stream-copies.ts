import { isTerminal, type StreamEvent } from '../../conversations/model.ts';
import type { Clock } from '../../kernel/clock.ts';
import type { TenantId } from '../../tenancy/tenant-id.ts';
import type { HeldStream, MemoryStreamLogs } from '../memory/stream-log.ts';
import type { RedisConnection } from './connection.ts';
import type { StreamKeys } from './keys.ts';
import type { StreamStore } from './stream-store.ts';

/** Events that are sent at once. */
const SENT_MAX = 256;
/** How soon a copy that failed though Redis is there is tried again, in milliseconds. */
const RETRY_MS = 1_000;
/** Ends of streams of dead processes that wait for Redis at most: beyond it the oldest is forgotten, and its readers find the stored answer. */
const OWED_ENDS_MAX = 1_000;

/** A stream of this process, and how much of it is known to be in Redis. */
interface Copy {
  readonly tenantId: TenantId;
  readonly messageId: string;
  readonly keys: StreamKeys;
  copied: number;
  withheld: boolean;
  /** Whether `copied` is only what it was when Redis was last heard of. */
  unsure: boolean;
  running: Promise<void> | null;
  retryPlanned: boolean;
}

const hasEnded = ({ events }: HeldStream): boolean => {
  const last = events.at(-1);
  return last !== undefined && isTerminal(last);
};

export interface StreamCopies {
  /** Brings the copy of a stream of this process up to date. Never rejects, and returns at once while Redis is away: then the copy is made later. */
  update(tenantId: TenantId, messageId: string, keys: StreamKeys): Promise<void>;
  /** Ends a stream that another process wrote, at once or when Redis is back. Never rejects. */
  end(keys: StreamKeys, event: StreamEvent): Promise<void>;
  /** Copies this one no more. */
  forget(keys: StreamKeys): void;
  /** Resolves when everything that can be copied now is. */
  settled(): Promise<void>;
  /** Streams whose copies are not finished. */
  count(): number;
}

export interface StreamCopiesDependencies {
  readonly connection: RedisConnection;
  readonly store: StreamStore;
  readonly local: MemoryStreamLogs;
  readonly clock: Clock;
}

/**
 * Copies the streams of this process to Redis, in order. What is still to be sent is held nowhere but in the stream itself: a copy
 * knows only how far Redis is, and Redis says so with every answer. So whatever got lost, an answer or all data, is sent again, and
 * what comes while a batch is on its way is the next batch.
 */
export function createStreamCopies({ connection, store, local, clock }: StreamCopiesDependencies): StreamCopies {
  const copies = new Map<string, Copy>();
  const owedEnds = new Map<string, { readonly keys: StreamKeys; readonly event: StreamEvent }>();

  const forget = ({ key }: StreamKeys) => void copies.delete(key);

  /** The stream that a copy has to catch up with; null when there is nothing to do. */
  function dueStream(copy: Copy): HeldStream | null {
    const held = local.held(copy.tenantId, copy.messageId);
    if (!held) forget(copy.keys);
    if (!held || copies.get(copy.keys.key) !== copy) return null;
    return copy.unsure || copy.copied < held.events.length || (held.withheld && !copy.withheld) ? held : null;
  }

  async function sendBatch(copy: Copy, held: HeldStream) {
    const spoken = held.events.length - (hasEnded(held) ? 1 : 0);
    const toWithhold = held.withheld && (!copy.withheld || copy.copied < spoken);
    copy.unsure = false;
    const { state, lastEvent } = toWithhold
      ? await store.withhold(copy.keys, spoken)
      : await store.append(copy.keys, copy.copied, held.events.slice(copy.copied, copy.copied + SENT_MAX));
    copy.copied = lastEvent;
    copy.withheld ||= toWithhold;
    if (state !== 'ENDED') return;
    forget(copy.keys);
    // Ended, but not by this process: another has taken the turn over.
    if (!hasEnded(held)) await local.forTenant(copy.tenantId).leave(copy.messageId);
  }

  async function run(copy: Copy) {
    try {
      for (let held = dueStream(copy); held && connection.ready(); held = dueStream(copy)) await sendBatch(copy, held);
    } catch {
      copy.unsure = true;
      if (!copy.retryPlanned && connection.ready()) {
        copy.retryPlanned = true;
        clock.after(RETRY_MS, () => {
          copy.retryPlanned = false;
          void start(copy);
        });
      }
    } finally {
      copy.running = null; // in the same breath in which nothing was left to do, so that whatever comes next starts it again
    }
  }

  const start = (copy: Copy): Promise<void> => (copy.running ??= Promise.resolve().then(() => run(copy)));

  async function payOwedEnd(key: string) {
    const owed = owedEnds.get(key);
    if (!owed || !connection.ready()) return;
    try {
      await store.end(owed.keys, owed.event);
      owedEnds.delete(key);
    } catch {
      if (connection.ready()) clock.after(RETRY_MS, () => void payOwedEnd(key));
    }
  }

  connection.onUp(() => {
    for (const copy of copies.values()) {
      copy.unsure = true;
      void start(copy);
    }
    for (const key of owedEnds.keys()) void payOwedEnd(key);
  });

  return {
    update(tenantId, messageId, keys) {
      let copy = copies.get(keys.key);
      if (!copy) {
        copy = {
          tenantId,
          messageId,
          keys,
          copied: 0,
          withheld: false,
          unsure: true,
          running: null,
          retryPlanned: false,
        };
        copies.set(keys.key, copy);
      }
      return start(copy);
    },
    end(keys, event) {
      const [oldest] = owedEnds.keys();
      if (owedEnds.size >= OWED_ENDS_MAX && oldest !== undefined) owedEnds.delete(oldest);
      owedEnds.set(keys.key, { keys, event });
      return payOwedEnd(keys.key);
    },
    forget,
    settled: async () => void (await Promise.all([...copies.values()].flatMap(({ running }) => running ?? []))),
    count: () => copies.size + owedEnds.size,
  };
}
