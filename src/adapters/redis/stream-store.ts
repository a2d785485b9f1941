import { isTerminal, type StreamEvent } from '../../conversations/model.ts';
import type { StreamProgress } from '../../conversations/ports.ts';
import type { RedisConnection } from './connection.ts';
import type { StreamKeys } from './keys.ts';
import { createScript } from './script.ts';

/** How long a stream is kept that nobody adds to, in milliseconds: longer than any turn is silent. */
const RUNNING_KEPT_MS = 2 * 60 * 60 * 1000;
/** Events that are fetched at once. */
export const FETCHED_MAX = 256;
/** What is published when the events of a stream are withheld. */
export const WITHHELD = 'withheld';

/** How far a stream is in Redis. */
export interface StoredPosition {
  readonly state: 'ABSENT' | 'RUNNING' | 'ENDED';
  readonly lastEvent: number;
}

/**
 * Lua: the phase of a stream and the number of its last event, nil when there is no stream. The ids of its entries say both:
 * `0-1` opens it, `1-<n>` is event n, `2-<n>` is the terminal event, which is found after any number.
 */
const LAST = `
local function last(key)
  if redis.call('EXISTS', key) == 0 then return nil, 0 end
  local info = redis.call('XINFO', 'STREAM', key)
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then
      local phase, number = string.match(info[i + 1], '^(%d+)-(%d+)$')
      if phase == '0' then number = 0 end
      return tonumber(phase), tonumber(number)
    end
  end
end
local phase, number = last(KEYS[1])
`;

/** Adds what is missing of the events after the first ARGV[2] ones; adds nothing after the end, or where events before these are missing. */
const APPEND = createScript(`${LAST}
local channel, from, endId, keptMs = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4]
if not phase then
  if from > 0 then return {-1, 0} end
  redis.call('XADD', KEYS[1], '0-1', 'open', '')
  phase = 1
end
if phase == 2 or number < from then return {phase, number} end
local added = {}
for i = 5 + number - from, #ARGV do
  number = from + i - 4
  local id = '1-' .. number
  if i == #ARGV and endId ~= '' then id, phase = endId, 2 end
  redis.call('XADD', KEYS[1], id, 'event', ARGV[i])
  added[#added + 1] = ARGV[i]
end
if #added > 0 then redis.call('PUBLISH', channel, '[' .. table.concat(added, ',') .. ']') end
redis.call('PEXPIRE', KEYS[1], keptMs)
return {phase, number}
`);

/** Adds the terminal event to a stream that runs, wherever it stands. */
const END = createScript(`${LAST}
if not phase or phase == 2 then return end
redis.call('XADD', KEYS[1], ARGV[2], 'event', ARGV[3])
redis.call('PUBLISH', ARGV[1], '[' .. ARGV[3] .. ']')
redis.call('PEXPIRE', KEYS[1], ARGV[4])
`);

/** Removes every event but the terminal one. The number of the last event stays, at least ARGV[2]; below 0 no stream is made. */
const WITHHOLD = createScript(`${LAST}
local channel, spoken, keptMs = ARGV[1], tonumber(ARGV[2]), ARGV[3]
if not phase then
  if spoken < 0 then return {-1, 0} end
  redis.call('XADD', KEYS[1], '0-1', 'open', '')
  phase = 1
end
if phase < 2 then
  if number < spoken then
    number = spoken
    redis.call('XADD', KEYS[1], '1-' .. number, 'withheld', '')
  end
  redis.call('PEXPIRE', KEYS[1], keptMs)
end
redis.call('XTRIM', KEYS[1], 'MINID', '2-0')
redis.call('PUBLISH', channel, '${WITHHELD}')
return {phase, number}
`);

const READ = createScript(`
if redis.call('EXISTS', KEYS[1]) == 0 then return false end
return redis.call('XRANGE', KEYS[1], ARGV[1], '+', 'COUNT', ARGV[2])
`);

const PROGRESS = createScript(`${LAST}
if not phase then return false end
return {number, redis.call('XRANGE', KEYS[1], '1', '1')}
`);

type Entry = readonly [id: string, fields: readonly [field: string, value: string]];

const eventsOf = (entries: readonly Entry[]): StreamEvent[] =>
  entries.filter(([, [field]]) => field === 'event').map(([, [, value]]) => JSON.parse(value) as StreamEvent);

const positionOf = (reply: unknown): StoredPosition => {
  const [phase, lastEvent] = reply as readonly [number, number];
  return { state: phase < 0 ? 'ABSENT' : phase === 2 ? 'ENDED' : 'RUNNING', lastEvent };
};

export type StreamStore = ReturnType<typeof createStreamStore>;

/** The streams as Redis holds them: a Redis Stream each. Every method rejects when Redis does not answer. */
export function createStreamStore({ commands }: RedisConnection, keptAfterEndMs: number) {
  return {
    /**
     * Adds events, of which the stream has `from` before them, and tells the readers. Opens the stream if it is new and `from` is 0.
     * Repeating it adds nothing twice. Where the stream then does not end with the last of them, the position says from where to go on.
     */
    async append({ key, channel }: StreamKeys, from: number, events: readonly StreamEvent[]): Promise<StoredPosition> {
      const end = events.at(-1);
      const isEnd = end !== undefined && isTerminal(end);
      const args = [channel, from, isEnd ? `2-${from + events.length}` : '', isEnd ? keptAfterEndMs : RUNNING_KEPT_MS];
      return positionOf(await APPEND(commands, [key], [...args, ...events.map((event) => JSON.stringify(event))]));
    },
    /** Ends a stream that another process wrote. Nothing happens where there is none, or it has ended. */
    async end({ key, channel }: StreamKeys, event: StreamEvent): Promise<void> {
      await END(commands, [key], [channel, `2-${event.sequence}`, JSON.stringify(event), keptAfterEndMs]);
    },
    /** Has the stream show nothing but its end. `spoken` is the number of events there were; null leaves a stream that is not there alone. */
    async withhold({ key, channel }: StreamKeys, spoken: number | null): Promise<StoredPosition> {
      return positionOf(await WITHHOLD(commands, [key], [channel, spoken ?? -1, RUNNING_KEPT_MS]));
    },
    /** The first events after `after`, `FETCHED_MAX` at most, the terminal one whatever `after` is. Null when there is no stream. */
    async read({ key }: StreamKeys, after: number): Promise<readonly StreamEvent[] | null> {
      const entries = (await READ(commands, [key], [`1-${after + 1}`, FETCHED_MAX])) as readonly Entry[] | null;
      return entries && eventsOf(entries);
    },
    async progress({ key }: StreamKeys): Promise<StreamProgress | null> {
      const reply = (await PROGRESS(commands, [key], [])) as readonly [number, readonly Entry[]] | null;
      if (!reply) return null;
      const [lastEvent, entries] = reply;
      const text = eventsOf(entries).map((event) => (event.type === 'DELTA' ? event.text : ''));
      return { text: text.join(''), lastEvent, withheld: lastEvent > 0 && entries.length === 0 };
    },
  };
}
