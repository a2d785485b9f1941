import type { Clock } from '../../kernel/clock.ts';
import type { RedisConnection } from './connection.ts';
import { every } from './every.ts';
import type { RedisKeys } from './keys.ts';
import { createScript, REDIS_TIME } from './script.ts';

const BEAT_EVERY_MS = 10_000;
/** An instance that was not heard of for so long counts no more, in milliseconds. */
const ALIVE_MS = 30_000;

const BEAT = createScript(`${REDIS_TIME}
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
return redis.call('ZCARD', KEYS[1])
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

  async function beat() {
    if (!connection.ready()) return;
    try {
      count = Number(await BEAT(connection.commands, [keys.instances()], [instanceId, ALIVE_MS]));
    } catch {
      // The next beat comes long before this instance counts as dead.
    }
  }

  connection.onUp(() => void beat());
  const stopBeating = every(clock, BEAT_EVERY_MS, () => void beat());

  return {
    count: () => count,
    async close() {
      stopBeating();
      if (connection.ready()) await connection.commands.zrem(keys.instances(), instanceId).catch(() => 0);
    },
  };
}
