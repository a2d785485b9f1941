import type { Clock } from '../../kernel/clock.ts';
import { every } from '../../kernel/repeating.ts';
import type { RedisConnection } from './connection.ts';
import type { RedisKeys } from './keys.ts';
import { createScript, REDIS_TIME } from './script.ts';

const BEAT_EVERY_MS = 10_000;
/** An instance that was not heard of for so long counts no more, in milliseconds. */
const ALIVE_MS = 30_000;

/** Notes that an instance lives for another while, or with 0 that it is gone, and tells all of them how many there are if that has changed. */
const BEAT = createScript(`${REDIS_TIME}
local instanceId, aliveMs, channel = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local before = redis.call('ZCARD', KEYS[1])
redis.call('ZADD', KEYS[1], now + aliveMs, instanceId)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
redis.call('PEXPIRE', KEYS[1], math.max(aliveMs, redis.call('PTTL', KEYS[1])))
local count = redis.call('ZCARD', KEYS[1])
if count ~= before then redis.call('PUBLISH', channel, count) end
return count
`);

export interface Instances {
  /** Instances that live, this one included: as many as there were when Redis was last heard of. */
  count(): number;
  /** Says that this one is gone. */
  close(): Promise<void>;
}

export interface InstancesDependencies {
  readonly connection: RedisConnection;
  readonly keys: RedisKeys;
  readonly instanceId: string;
  readonly clock: Clock;
}

/** Says that this instance lives, and hears how many do. */
export function createInstances({ connection, keys, instanceId, clock }: InstancesDependencies): Instances {
  let count = 1;
  let heard = 0;

  async function beat(aliveMs = ALIVE_MS) {
    if (!connection.ready()) return;
    try {
      const args = [instanceId, aliveMs, keys.instancesChannel()];
      const before = heard;
      const counted = Number(await BEAT(connection.commands, [keys.instances()], args));
      // What was told meanwhile, on the other connection, may be later than this; what was told before is the same, or is told anew.
      if (heard === before) count = counted;
    } catch {
      // The next beat comes long before this instance counts as dead.
    }
  }

  void connection.subscribe(keys.instancesChannel(), (message) => {
    heard++;
    count = Math.max(1, Number(message));
  });
  connection.onUp(() => void beat());
  const stopBeating = every(clock, BEAT_EVERY_MS, () => void beat());

  return {
    count: () => count,
    async close() {
      stopBeating();
      await beat(0);
    },
  };
}
