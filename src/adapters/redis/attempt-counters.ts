import { RateLimiterRedis } from 'rate-limiter-flexible';
import type { OpenAttemptCounter } from '../../auth/ports.ts';
import { attemptCounter, createMemoryAttemptLimiter } from '../memory/attempt-counters.ts';
import type { RedisConnection } from './connection.ts';
import type { RedisKeys } from './keys.ts';

/** Counts of all instances. While Redis is away each of them counts by itself, from nothing. */
export const createRedisAttemptCounters =
  ({ commands }: Pick<RedisConnection, 'commands'>, keys: RedisKeys): OpenAttemptCounter =>
  (name, limit) => {
    const keyPrefix = keys.attempts(name);
    return attemptCounter(
      new RateLimiterRedis({
        keyPrefix,
        points: limit.max,
        duration: limit.windowMs / 1000,
        storeClient: commands,
        rejectIfRedisNotReady: true,
        insuranceLimiter: createMemoryAttemptLimiter(keyPrefix, limit),
      }),
    );
  };
