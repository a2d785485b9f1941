import { isTerminal, type StreamEvent } from '../../conversations/model.ts';
import { streamBroken } from '../memory/stream-log.ts';
import type { FeedReader } from './stream-feeds.ts';
import { FETCHED_MAX } from './stream-store.ts';

/** Events that wait for a slow reader at most; what is beyond it is fetched when the reader gets there. */
const WINDOW_MAX = FETCHED_MAX;
/** A place that no event but the terminal one comes after. */
const PAST_EVERY_EVENT = Number.MAX_SAFE_INTEGER;
const DONE = { value: undefined, done: true } as const;

export interface StreamReader extends FeedReader {
  readonly events: AsyncIterableIterator<StreamEvent>;
  /** Fetches the first events. False when there is no stream, or it cannot be reached: nothing is to be read then. */
  begin(): Promise<boolean>;
}

export interface StreamReaderOptions {
  readonly after: number;
  /** The events after a place, the terminal one whatever it is; null when there is no stream. */
  readonly fetch: (after: number) => Promise<readonly StreamEvent[] | null>;
  /** Called once, when the reader needs to hear no more. */
  readonly onEnd: () => void;
}

/**
 * Reads a stream that another process writes: as long as it keeps up it is handed what is published, and only where something is
 * missing does it fetch. It holds its place and a window of events, so a slow reader costs no more than that.
 */
export function createStreamReader({ after, fetch, onEnd }: StreamReaderOptions): StreamReader {
  const window: StreamEvent[] = [];
  const waiting = new Set<() => void>();
  /** The number of the last event that was put into the window. */
  let place = after;
  /** Something may be there that was not handed to the reader. */
  let behind = true;
  let fetching = false;
  /** The highest number heard of during a fetch, which may or may not have brought it. */
  let heard = 0;
  let state: 'READING' | 'ENDED' | 'BROKEN' | 'LEFT' = 'READING';

  const wake = () => {
    for (const each of [...waiting]) each();
  };

  function stop(next: Exclude<typeof state, 'READING'>) {
    if (state === 'READING') onEnd();
    state = next;
    wake();
  }

  function put(event: StreamEvent) {
    if (isTerminal(event)) {
      window.push(event);
      stop('ENDED');
    } else if (event.sequence > place) {
      window.push(event);
      place = event.sequence;
    }
  }

  function hearOne(event: StreamEvent) {
    if (state !== 'READING' || (!isTerminal(event) && event.sequence <= place)) return;
    if (fetching) heard = Math.max(heard, isTerminal(event) ? Infinity : event.sequence);
    else if (behind || window.length >= WINDOW_MAX || event.sequence > place + 1) behind = true;
    else put(event);
  }

  async function catchUp() {
    if (fetching || state !== 'READING') return;
    fetching = true;
    heard = 0;
    try {
      const events = await fetch(place);
      if (events === null) stopReading();
      else for (const event of events) if (isReading()) put(event);
      behind = heard > place || events?.length === FETCHED_MAX;
    } catch {
      stopReading();
    } finally {
      fetching = false;
      wake();
    }
  }

  const isReading = () => state === 'READING';
  const stopReading = () => {
    if (isReading()) stop('BROKEN');
  };

  async function next(): Promise<IteratorResult<StreamEvent>> {
    for (;;) {
      if (state === 'LEFT') return DONE;
      const value = window.shift();
      if (value) return { value, done: false };
      if (state === 'ENDED') return DONE;
      if (state === 'BROKEN') throw streamBroken();
      if (behind) void catchUp();
      await new Promise<void>((resolve) => {
        const woken = () => {
          waiting.delete(woken);
          resolve();
        };
        waiting.add(woken);
      });
    }
  }

  return {
    hear(events) {
      events.forEach(hearOne);
      wake();
    },
    withhold() {
      window.length = 0;
      place = PAST_EVERY_EVENT;
    },
    look() {
      behind = true;
      wake();
    },
    breakOff: stopReading,
    async begin() {
      await catchUp();
      return state !== 'BROKEN';
    },
    events: {
      next,
      return() {
        stop('LEFT');
        return Promise.resolve(DONE);
      },
      [Symbol.asyncIterator]() {
        return this;
      },
    },
  };
}
