import { RateLimiterMemory, RateLimiterRes, type RateLimiterAbstract } from 'rate-limiter-flexible';
import type { AttemptCounter, OpenAttemptCounter } from '../../auth/ports.ts';

/** A limiter of the library as a counter of ours. */
export function attemptCounter(limiter: RateLimiterAbstract): AttemptCounter {
  const waitOf = ({ msBeforeNext }: RateLimiterRes) => Math.max(1, Math.ceil(msBeforeNext));
  return {
    async add(key) {
      try {
        await limiter.consume(key);
        return 0;
      } catch (refusal) {
        if (refusal instanceof RateLimiterRes) return waitOf(refusal);
        throw refusal;
      }
    },
    async takeBack(key) {
      await limiter.reward(key);
    },
    async forget(key) {
      await limiter.delete(key);
    },
    async wait(key) {
      const state = await limiter.get(key);
      return state && state.consumedPoints >= limiter.points ? waitOf(state) : 0;
    },
  };
}

export const createMemoryAttemptLimiter = (keyPrefix: string, limit: Parameters<OpenAttemptCounter>[1]) =>
  new RateLimiterMemory({ keyPrefix, points: limit.max, duration: limit.windowMs / 1000 });

/** Counts of one process. */
export const createMemoryAttemptCounters = (): OpenAttemptCounter => (name, limit) =>
  attemptCounter(createMemoryAttemptLimiter(name, limit));
