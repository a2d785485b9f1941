import { elapsedSince, type Clock } from '../kernel/clock.ts';
import type { Citation, StreamEvent } from './model.ts';
import type { StreamLog } from './ports.ts';

/** An event before it has its place in the stream. */
type Unnumbered = StreamEvent extends infer E ? (E extends StreamEvent ? Omit<E, 'sequence'> : never) : never;

/** Numbers the events of one answer and writes them to its stream, in order. */
export interface StreamWriter {
  text(text: string): Promise<void>;
  citation(citation: Citation): Promise<void>;
  queued(position: number): Promise<void>;
  /** Writes what is held back. */
  flush(): Promise<void>;
  /** Forgets what is held back. */
  discard(): void;
  /** Events written so far. */
  count(): number;
}

export interface StreamWriterDependencies {
  readonly streams: Pick<StreamLog, 'append'>;
  readonly messageId: string;
  readonly clock: Clock;
  /** How long text may be held back, so that many small pieces become one event; 0: not at all. */
  readonly coalesceMs: number;
}

/**
 * Text that comes after a pause is written at once, so the first piece of an answer is never delayed; what follows within
 * `coalesceMs` is gathered and written together.
 */
export function createStreamWriter({ streams, messageId, clock, coalesceMs }: StreamWriterDependencies): StreamWriter {
  let count = 0;
  let held = '';
  let writtenAt = -Infinity;
  let cancel = () => {};
  /** Writes follow one another, also where one was begun by the timer. */
  let written = Promise.resolve();

  function write(event: Unnumbered): Promise<void> {
    const numbered = { ...event, sequence: ++count } as StreamEvent;
    written = written.then(() => streams.append(messageId, numbered));
    return written;
  }

  function flush(): Promise<void> {
    cancel();
    const text = held;
    held = '';
    if (text === '') return written;
    writtenAt = clock.now();
    return write({ type: 'DELTA', text });
  }

  return {
    text(text) {
      if (text === '') return written;
      const waiting = held !== '';
      held += text;
      const due = coalesceMs - elapsedSince(clock, writtenAt);
      if (due <= 0) return flush();
      if (!waiting) {
        // A stream that cannot be written to shows at the next write that is waited for.
        cancel = clock.after(due, () => void flush().catch(() => undefined));
      }
      return Promise.resolve();
    },
    async citation(citation) {
      await flush();
      await write({ type: 'CITATION', citation });
    },
    queued: (position) => write({ type: 'QUEUED', position }),
    flush,
    discard() {
      cancel();
      held = '';
    },
    count: () => count,
  };
}
