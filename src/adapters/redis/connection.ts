import { Redis } from 'ioredis';
import type { Clock } from '../../kernel/clock.ts';
import { every } from '../../kernel/repeating.ts';

/** A command that is not answered in this time has failed, in milliseconds. */
const COMMAND_TIMEOUT_MS = 1_000;
/** A connection on which nothing is answered in this time is given up, in milliseconds. */
const SILENCE_MAX_MS = 2_000;
const CONNECT_TIMEOUT_MS = 2_000;
/** How often each connection is tried, so that one that died without a word is noticed. */
const PING_EVERY_MS = 5_000;
const RECONNECT_FIRST_MS = 50;
const RECONNECT_MAX_MS = 2_000;

/** What the log of the process is told. The reason never holds what was sent to Redis. */
export interface RedisLog {
  onState(state: 'up' | 'down', reason: string | null): void;
}

export interface RedisConnectionOptions {
  readonly url: string;
  readonly clock: Clock;
  readonly log: RedisLog;
}

/** One connection for commands and one for subscriptions, whatever the number of streams and sockets. */
export interface RedisConnection {
  /** Every command rejects at once while Redis is away: nothing is queued. */
  readonly commands: Redis;
  /** Whether both connections stand, with every subscription. */
  ready(): boolean;
  /** Calls back once both connections stand, the first time and after every loss. */
  onUp(listener: () => void): void;
  /** Calls back once per loss. Messages may have been missed from then on. */
  onDown(listener: () => void): void;
  /** Subscribes the one listener of a channel, now and after every loss. While Redis is away that is for later; rejects if it fails now. */
  subscribe(channel: string, listener: (message: string) => void): Promise<void>;
  unsubscribe(channel: string): void;
  close(): void;
}

/** Connects in the background, and again after every loss, for as long as it takes: nothing here ever throws because Redis is away. */
export function createRedisConnection({ url, clock, log }: RedisConnectionOptions): RedisConnection {
  const [commands, subscriber] = [openClient(url), openClient(url)];
  const channels = new Map<string, (message: string) => void>();
  const listeners = { up: [] as (() => void)[], down: [] as (() => void)[] };
  let state: 'up' | 'down' | null = null;
  let subscribed = false;
  let closed = false;
  let reason: string | null = null;

  function change(next: 'up' | 'down') {
    if (next === state) return;
    state = next;
    if (next === 'up') reason = null;
    if (!closed) log.onState(next, reason);
    for (const listener of listeners[next]) listener();
  }

  const checkUp = () => {
    if (commands.status === 'ready' && subscribed) change('up');
  };

  async function resubscribe() {
    try {
      if (channels.size > 0) await subscriber.subscribe(...channels.keys());
      subscribed = true;
      checkUp();
    } catch (error) {
      noteFailure(error);
      change('down');
    }
  }

  function noteFailure(error: unknown) {
    reason = error instanceof Error ? error.message : String(error);
  }

  commands.on('ready', checkUp);
  subscriber.on('ready', () => void resubscribe());
  subscriber.on('close', () => (subscribed = false));
  subscriber.on('message', (channel, message) => channels.get(channel)?.(message));
  for (const client of [commands, subscriber]) {
    client.on('error', noteFailure);
    client.on('close', () => change('down'));
  }
  const stopPinging = every(clock, PING_EVERY_MS, () => {
    for (const client of [commands, subscriber]) if (client.status === 'ready') client.ping().catch(noteFailure);
  });

  return {
    commands,
    ready: () => state === 'up',
    onUp: (listener) => void listeners.up.push(listener),
    onDown: (listener) => void listeners.down.push(listener),
    async subscribe(channel, listener) {
      channels.set(channel, listener);
      if (subscriber.status === 'ready') await subscriber.subscribe(channel);
    },
    unsubscribe(channel) {
      channels.delete(channel);
      if (subscriber.status === 'ready') subscriber.unsubscribe(channel).catch(noteFailure);
    },
    close() {
      closed = true;
      stopPinging();
      commands.disconnect();
      subscriber.disconnect();
      change('down');
    },
  };
}

function openClient(url: string): Redis {
  return new Redis(url, {
    // Whoever sends a command knows what to do without Redis; a command that waits for it would come too late.
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    // Done here, so that it is known when it is done.
    autoResubscribe: false,
    commandTimeout: COMMAND_TIMEOUT_MS,
    socketTimeout: SILENCE_MAX_MS,
    connectTimeout: CONNECT_TIMEOUT_MS,
    retryStrategy: (attempt) => Math.min(RECONNECT_FIRST_MS * 2 ** (attempt - 1), RECONNECT_MAX_MS),
  });
}
