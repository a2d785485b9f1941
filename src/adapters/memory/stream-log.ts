import type { StreamLog } from '../../conversations/ports.ts';
import { isTerminal, type StreamEvent } from '../../conversations/model.ts';
import type { Clock } from '../../kernel/clock.ts';
import { AppError } from '../../kernel/errors.ts';
import type { TenantId } from '../../tenancy/tenant-id.ts';

/** How long a stream can be read after its end, in milliseconds. */
export const KEPT_AFTER_END_MS = 15 * 60 * 1000;
/** Ended streams that are held at most: beyond it the oldest goes early, and is then its terminal event alone. */
const ENDED_STREAMS_MAX = 10_000;

interface Stream {
  readonly events: StreamEvent[];
  /** Readers that have read everything and wait for more. */
  readonly waiting: Set<() => void>;
  text: string;
  ended: boolean;
  withheld: boolean;
  /** Another process writes it now. */
  left: boolean;
}

export type HeldStream = Pick<Readonly<Stream>, 'withheld'> & { readonly events: readonly StreamEvent[] };

/** Streams of this process, of every tenant: `forTenant` gives the view of one. */
export interface MemoryStreamLogs {
  forTenant(tenantId: TenantId): StreamLog;
  /** A stream as it is held here, for whoever keeps a copy of it elsewhere; it grows as the stream does. Null when it is not held. */
  held(tenantId: TenantId, messageId: string): HeldStream | null;
  /** Streams that are held at the moment. */
  count(): number;
}

/**
 * Keeps every event of a stream in memory, in order. A reader holds only its place in the stream, so any number of readers,
 * however slow, cost nothing but that.
 */
export function createMemoryStreamLogs(clock: Clock): MemoryStreamLogs {
  const streams = new Map<string, Stream>();
  /** Names in the order in which the streams ended. */
  const ended = new Set<string>();

  function keepForAWhile(name: string) {
    ended.add(name);
    clock.after(KEPT_AFTER_END_MS, () => drop(name));
    const [oldest] = ended;
    if (ended.size > ENDED_STREAMS_MAX && oldest !== undefined) drop(oldest);
  }

  function drop(name: string) {
    streams.delete(name);
    ended.delete(name);
  }

  function forTenant(tenantId: TenantId): StreamLog {
    const nameOf = (messageId: string) => streamName(tenantId, messageId);
    return {
      open(messageId) {
        const name = nameOf(messageId);
        if (!streams.has(name))
          streams.set(name, { events: [], waiting: new Set(), text: '', ended: false, withheld: false, left: false });
        return Promise.resolve();
      },
      append(messageId, event) {
        const stream = streams.get(nameOf(messageId));
        if (!stream || stream.ended) return Promise.resolve();
        stream.events.push(event);
        if (event.type === 'DELTA') stream.text += event.text;
        if (isTerminal(event)) {
          stream.ended = true;
          keepForAWhile(nameOf(messageId));
        }
        for (const wake of [...stream.waiting]) wake();
        return Promise.resolve();
      },
      read(messageId, after) {
        const stream = streams.get(nameOf(messageId));
        return Promise.resolve(stream ? readStream(stream, after) : null);
      },
      progress(messageId) {
        const stream = streams.get(nameOf(messageId));
        if (!stream) return Promise.resolve(null);
        const { text, withheld, events } = stream;
        return Promise.resolve({ text, withheld, lastEvent: events.length });
      },
      withhold(messageId) {
        const stream = streams.get(nameOf(messageId));
        if (stream) Object.assign(stream, { withheld: true, text: '' });
        return Promise.resolve();
      },
      leave(messageId) {
        const stream = streams.get(nameOf(messageId));
        if (stream && !stream.ended) {
          stream.left = true;
          drop(nameOf(messageId));
          for (const wake of [...stream.waiting]) wake();
        }
        return Promise.resolve();
      },
    };
  }

  const held = (tenantId: TenantId, messageId: string) => streams.get(streamName(tenantId, messageId)) ?? null;
  return { forTenant, held, count: () => streams.size };
}

const streamName = (tenantId: TenantId, messageId: string) => `${tenantId} ${messageId}`;

/** What a reader is told whose stream ended before its answer did. */
export const streamBroken = (): AppError =>
  new AppError('INTERRUPTED', 'The stream broke off: subscribe again with the last sequence you have seen.', {
    retryable: true,
  });

const DONE = { value: undefined, done: true } as const;

function readStream(stream: Stream, after: number): AsyncIterableIterator<StreamEvent> {
  /** What of `stream.waiting` is this reader's own: one that leaves wakes nobody else. */
  const waiting = new Set<() => void>();
  let place = 0;
  let left = false;

  /** The next event there is to show; undefined for none yet. The terminal one is shown whatever `after` is. */
  function nextEvent(): StreamEvent | undefined {
    while (place < stream.events.length) {
      const event = stream.events[place++];
      if (event && (isTerminal(event) || (event.sequence > after && !stream.withheld))) return event;
    }
    return undefined;
  }

  async function next(): Promise<IteratorResult<StreamEvent>> {
    for (;;) {
      if (left) return DONE;
      const event = nextEvent();
      if (event) return { value: event, done: false };
      if (stream.ended) return DONE;
      if (stream.left) throw streamBroken();
      await new Promise<void>((wake) => {
        const woken = () => {
          stream.waiting.delete(woken);
          waiting.delete(woken);
          wake();
        };
        stream.waiting.add(woken);
        waiting.add(woken);
      });
    }
  }

  return {
    next,
    return() {
      left = true;
      for (const wake of [...waiting]) wake();
      return Promise.resolve(DONE);
    },
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}
