import { randomBytes } from 'node:crypto';
import { Redis } from 'ioredis';
import { createRedis, type RedisCoordination } from '../../src/adapters/redis/index.ts';
import { systemClock, type Clock } from '../../src/kernel/clock.ts';

/** Redis for the tests that need one, null where there is none: they are skipped then, and say so. */
export const REDIS_URL: string | null = process.env['REDIS_URL'] ?? null;
export const REDIS_NAME = REDIS_URL === null ? 'Redis (SKIPPED: REDIS_URL is not set)' : 'Redis';

export interface InstanceOptions {
  readonly clock?: Clock;
  readonly slotHeldMs?: number;
}

/** One process of an installation. */
export type Instance = RedisCoordination & {
  /** Resolves once Redis is there, or is away, as far as this process knows. */
  until(state: 'up' | 'down'): Promise<void>;
  /** Every change of the state, as it was logged. */
  readonly states: readonly ('up' | 'down')[];
};

/** Instances that share a prefix of their own on one Redis. */
export interface Installation {
  /** Another instance, connected. */
  connect(options?: InstanceOptions): Promise<Instance>;
  /** Another instance, whether or not Redis is there. */
  start(options?: InstanceOptions): Instance;
  /** Has Redis take everything of this installation as if it had been stored so much earlier. */
  elapse(ms: number): Promise<void>;
  readonly raw: Redis;
  readonly prefix: string;
  close(): Promise<void>;
}

export function openInstallation(url: string): Installation {
  const prefix = `test-${randomBytes(6).toString('hex')}`;
  const raw = new Redis(url, { retryStrategy: () => 50 });
  raw.on('error', () => {}); // away on purpose
  const opened: Instance[] = [];

  function start({ clock = systemClock, slotHeldMs }: InstanceOptions = {}): Instance {
    const states: ('up' | 'down')[] = [];
    const waiting = new Set<() => void>();
    const redis = createRedis({
      ...{ url, prefix, clock },
      instanceId: `instance-${opened.length + 1}`,
      ...(slotHeldMs !== undefined && { slotHeldMs }),
      log: {
        onState(state) {
          states.push(state);
          for (const wake of [...waiting]) wake();
        },
      },
    });
    const until = async (state: 'up' | 'down') => {
      while (states.at(-1) !== state) {
        const changed = Promise.withResolvers<void>();
        waiting.add(changed.resolve);
        await changed.promise;
        waiting.delete(changed.resolve);
      }
    };
    const instance = { ...redis, until, states };
    opened.push(instance);
    return instance;
  }

  return {
    raw,
    prefix,
    start,
    async connect(options) {
      const instance = start(options);
      await instance.until('up');
      return instance;
    },
    async elapse(ms) {
      for (const key of await raw.keys(`${prefix}#*`)) await makeEarlier(raw, key, ms);
    },
    async close() {
      for (const instance of opened) await instance.close();
      if (raw.status === 'ready') {
        const keys = await raw.keys(`${prefix}#*`);
        if (keys.length > 0) await raw.del(...keys);
      }
      raw.disconnect();
    },
  };
}

async function makeEarlier(raw: Redis, key: string, ms: number) {
  const type = await raw.type(key);
  const left = await raw.pttl(key);
  if (type === 'string') await raw.decrby(key, ms * 1000);
  if (type === 'zset') for (const member of await raw.zrange(key, '0', '-1')) await raw.zincrby(key, `${-ms}`, member);
  if (left >= 0) await raw.pexpire(key, Math.max(0, left - ms));
}
