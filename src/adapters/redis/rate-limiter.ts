import type { Clock } from '../../kernel/clock.ts';
import type { RateLimiter } from '../../tenants/ports.ts';
import type { RedisConnection } from './connection.ts';
import type { Instances } from './instances.ts';
import type { RedisKeys } from './keys.ts';
import { createScript, REDIS_TIME } from './script.ts';

/**
 * The generic cell rate algorithm, as in the memory limiter. KEYS: the moment the subject is rested. ARGV: units per
 * minute, and how many are taken. Answers whether they may pass, how many may follow, and in how many microseconds as many may pass and
 * the subject is rested:
 * spans, so that the clocks of the instances need not agree with the one of Redis.
 */
const TAKE = createScript(`${REDIS_TIME}
local perMinute = tonumber(ARGV[1])
local interval = math.floor(60000000 / perMinute)
local limit = interval * perMinute
local cost = interval * tonumber(ARGV[2])
local rested = math.max(tonumber(redis.call('GET', KEYS[1]) or 0), nowMicros)
local allowed = 0
if rested + cost - nowMicros <= limit then
  allowed = 1
  rested = rested + cost
  redis.call('SET', KEYS[1], string.format('%.0f', rested), 'PX', math.ceil((rested - nowMicros) / 1000))
end
local restMicros = rested - nowMicros
return {allowed, math.floor((limit - restMicros) / interval), math.max(0, restMicros + cost - limit), restMicros}
`);

export interface RedisRateLimiterDependencies {
  readonly connection: RedisConnection;
  readonly keys: RedisKeys;
  readonly instances: Instances;
  readonly clock: Clock;
  /** Limits what passes here while Redis is away. */
  readonly local: RateLimiter;
}

/** One limit over all instances. While Redis is away each of them lets its share pass. */
export function createRedisRateLimiter(deps: RedisRateLimiterDependencies): RateLimiter {
  const { connection, keys, instances, clock, local } = deps;
  return {
    async take(subject, perMinute, cost = 1) {
      const takeShare = () => {
        const share = Math.ceil(perMinute / instances.count());
        return local.take(subject, share, Math.min(cost, share));
      };
      if (!connection.ready()) return takeShare();
      const reply = await TAKE(connection.commands, [keys.rate(subject)], [perMinute, cost]).catch(() => null);
      if (!reply) return takeShare();
      const [allowed, remaining, retryMicros, restMicros] = reply as readonly [number, number, number, number];
      return {
        allowed: allowed === 1,
        remaining: Math.max(0, remaining),
        retryAfterMs: Math.ceil(retryMicros / 1000),
        resetAt: clock.now() + Math.ceil(restMicros / 1000),
      };
    },
  };
}
