import { createHash } from 'node:crypto';
import type { Redis } from 'ioredis';

/** Runs a Lua script: Redis does all of it or nothing, with nobody else in between. */
export type Script = (redis: Redis, keys: readonly string[], args: readonly (string | number)[]) => Promise<unknown>;

/** A script is sent whole only to a server that does not know it yet. */
export function createScript(source: string): Script {
  const sha = createHash('sha1').update(source).digest('hex');
  return async (redis, keys, args) => {
    try {
      return await redis.evalsha(sha, keys.length, ...keys, ...args);
    } catch (error) {
      if (!(error instanceof Error && error.message.startsWith('NOSCRIPT'))) throw error;
      return redis.eval(source, keys.length, ...keys, ...args);
    }
  };
}

/** Lua: the time in milliseconds, and in microseconds, by the clock that all instances share. */
export const REDIS_TIME = `
local time = redis.call('TIME')
local nowMicros = tonumber(time[1]) * 1000000 + tonumber(time[2])
local now = math.floor(nowMicros / 1000)
`;
