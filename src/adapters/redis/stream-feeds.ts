import type { StreamEvent } from '../../conversations/model.ts';
import type { Clock } from '../../kernel/clock.ts';
import { every } from '../../kernel/repeating.ts';
import type { RedisConnection } from './connection.ts';
import { WITHHELD } from './stream-store.ts';

/** How often the readers of a stream that says nothing look for themselves, in milliseconds: a publication may have been lost. */
const LOOK_EVERY_MS = 5_000;

/** What a reader is told while it listens. */
export interface FeedReader {
  hear(events: readonly StreamEvent[]): void;
  /** What was said so far is shown no more. */
  withhold(): void;
  /** Something may be there that nobody was told of. */
  look(): void;
  /** Nothing more will be heard. */
  breakOff(): void;
}

export interface StreamFeeds {
  /** Resolves once nothing that is published from then on is missed; rejects when Redis does not answer. */
  join(channel: string, reader: FeedReader): Promise<void>;
  leave(channel: string, reader: FeedReader): void;
  /** Streams that are listened to at the moment. */
  count(): number;
}

interface Feed {
  readonly readers: Set<FeedReader>;
  readonly subscribed: Promise<void>;
  readonly stop: () => void;
}

/** Listens once to each stream, however many readers it has here. */
export function createStreamFeeds(connection: RedisConnection, clock: Clock): StreamFeeds {
  const feeds = new Map<string, Feed>();

  function openFeed(channel: string): Feed {
    const readers = new Set<FeedReader>();
    let quiet = true;
    const tell = (message: string) => {
      quiet = false;
      const events = eventsOf(message);
      for (const reader of [...readers]) {
        if (events) reader.hear(events);
        else if (message === WITHHELD) reader.withhold();
        else reader.look();
      }
    };
    const stopLooking = every(clock, LOOK_EVERY_MS, () => {
      if (quiet) for (const reader of [...readers]) reader.look();
      quiet = true;
    });
    const stop = () => {
      feeds.delete(channel);
      stopLooking();
      connection.unsubscribe(channel);
    };
    return { readers, stop, subscribed: connection.subscribe(channel, tell) };
  }

  connection.onDown(() => {
    for (const { readers } of [...feeds.values()]) for (const reader of [...readers]) reader.breakOff();
  });

  return {
    async join(channel, reader) {
      let feed = feeds.get(channel);
      if (!feed) feeds.set(channel, (feed = openFeed(channel)));
      feed.readers.add(reader);
      await feed.subscribed;
    },
    leave(channel, reader) {
      const feed = feeds.get(channel);
      if (feed?.readers.delete(reader) && feed.readers.size === 0) feed.stop();
    },
    count: () => feeds.size,
  };
}

/** Null for a message that is no list of events. */
function eventsOf(message: string): readonly StreamEvent[] | null {
  if (!message.startsWith('[')) return null;
  try {
    return JSON.parse(message) as StreamEvent[];
  } catch {
    return null;
  }
}
