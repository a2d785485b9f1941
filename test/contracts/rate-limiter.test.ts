import { afterEach, describe, expect, it } from 'vitest';
import { createMemoryRateLimiter } from '../../src/adapters/memory/rate-limiter.ts';
import { parseTenantId } from '../../src/tenancy/tenant-id.ts';
import type { RateLimiter, RateSubject } from '../../src/tenants/ports.ts';
import { createTestClock, type TestClock } from '../support/clock.ts';
import { openInstallation, REDIS_NAME, REDIS_URL } from '../support/redis.ts';

const subjectOf = (slug: string): RateSubject => ({
  tenantId: parseTenantId(slug)!,
  meter: 'requests',
  lane: 'callers',
});
const [acme, globex] = [subjectOf('acme'), subjectOf('globex')];
/** Of so few that a slow machine does not see the next one come back. */
const PER_MINUTE = 5;
const COST_MS = 12_000;

interface Opened {
  /** The same limits, seen from two instances where there are several. */
  readonly limiters: readonly [RateLimiter, RateLimiter];
  advance(ms: number): Promise<void>;
  /** How much of the time may pass by itself. */
  readonly slackMs: number;
  close(): Promise<void>;
}

function openMemory(clock: TestClock): Promise<Opened> {
  const limiter = createMemoryRateLimiter(clock);
  return Promise.resolve({
    limiters: [limiter, limiter],
    advance: (ms) => clock.advance(ms),
    slackMs: 0,
    close: () => Promise.resolve(),
  });
}

async function openRedis(clock: TestClock): Promise<Opened> {
  const installation = openInstallation(REDIS_URL!);
  const [one, other] = [await installation.connect({ clock }), await installation.connect({ clock })];
  return {
    limiters: [one.limiter, other.limiter],
    async advance(ms) {
      await installation.elapse(ms);
      await clock.advance(ms);
    },
    slackMs: 5_000,
    close: () => installation.close(),
  };
}

const ADAPTERS: readonly { name: string; skip: boolean; open: (clock: TestClock) => Promise<Opened> }[] = [
  { name: 'memory', skip: false, open: openMemory },
  { name: REDIS_NAME, skip: !REDIS_URL, open: openRedis },
];

for (const { name, skip, open } of ADAPTERS)
  describe.skipIf(skip)(`RateLimiter on ${name}`, () => {
    const close: (() => Promise<void>)[] = [];
    afterEach(async () => {
      for (const each of close.splice(0)) await each();
    });

    async function opened() {
      const clock = createTestClock();
      const limits = await open(clock);
      close.push(() => limits.close());
      const [one, other] = limits.limiters;
      /** Takes from both instances in turn. */
      const takeMany = (count: number, perMinute: number, subject = acme) =>
        Promise.all(Array.from({ length: count }, (_, n) => (n % 2 ? other : one).take(subject, perMinute)));
      const countAllowed = async (...args: Parameters<typeof takeMany>) =>
        (await takeMany(...args)).filter(({ allowed }) => allowed).length;
      return { clock, limits, one, other, takeMany, countAllowed };
    }

    it.each([1, 5, 7, 13])(
      '%i a minute: exactly as many pass at once when rested, over all instances',
      async (limit) => {
        const { countAllowed } = await opened();
        expect(await countAllowed(limit * 2 + 3, limit)).toBe(limit);
      },
    );

    it('then one passes every 60 s / limit, and no more than were rested', async () => {
      const { limits, countAllowed } = await opened();
      await countAllowed(PER_MINUTE, PER_MINUTE);
      await limits.advance(COST_MS - 1 - limits.slackMs);
      expect(await countAllowed(3, PER_MINUTE)).toBe(0);
      await limits.advance(1 + limits.slackMs);
      expect(await countAllowed(3, PER_MINUTE)).toBe(1);
      await limits.advance(3 * COST_MS);
      expect(await countAllowed(9, PER_MINUTE)).toBe(3);
      await limits.advance(60 * 60_000);
      expect(await countAllowed(9, PER_MINUTE)).toBe(PER_MINUTE);
    });

    it('never twice the limit around any moment', async () => {
      const { limits, countAllowed } = await opened();
      await limits.advance(59_000);
      expect(await countAllowed(10, PER_MINUTE)).toBe(PER_MINUTE);
      await limits.advance(2_000);
      expect(await countAllowed(10, PER_MINUTE)).toBe(0);
    });

    it('says what is left, when the next may pass, and when all of it is there again', async () => {
      const { clock, limits, one, other } = await opened();
      const [early, late] = [(ms: number) => ms - limits.slackMs, (ms: number) => ms];
      const between = (value: number, ms: number) => {
        expect(value).toBeGreaterThanOrEqual(early(ms));
        expect(value).toBeLessThanOrEqual(late(ms));
      };
      for (let n = 1; n < PER_MINUTE; n++) {
        const verdict = await (n % 2 ? one : other).take(acme, PER_MINUTE);
        expect(verdict).toMatchObject({ allowed: true, remaining: PER_MINUTE - n, retryAfterMs: 0 });
        between(verdict.resetAt - clock.now(), n * COST_MS);
      }
      for (const allowed of [true, false]) {
        const verdict = await one.take(acme, PER_MINUTE);
        expect(verdict).toMatchObject({ allowed, remaining: 0 });
        between(verdict.retryAfterMs, COST_MS);
        between(verdict.resetAt - clock.now(), 60_000);
      }
    });

    it('a refused request costs nothing, and who comes back when told to passes', async () => {
      const { limits, countAllowed, one } = await opened();
      await countAllowed(50, PER_MINUTE);
      const { retryAfterMs } = await one.take(acme, PER_MINUTE);
      await limits.advance(retryAfterMs);
      expect(await one.take(acme, PER_MINUTE)).toMatchObject({ allowed: true });
    });

    it('what costs more takes more, all of it or nothing', async () => {
      const { one, other } = await opened();
      expect(await one.take(acme, PER_MINUTE, 3)).toMatchObject({ allowed: true, remaining: 2 });
      expect(await other.take(acme, PER_MINUTE, 3)).toMatchObject({ allowed: false, remaining: 2 });
      expect(await other.take(acme, PER_MINUTE, 2)).toMatchObject({ allowed: true, remaining: 0 });
    });

    it('who comes back when told to passes, whatever it costs, up to the whole limit', async () => {
      const { limits, one } = await opened();
      await one.take(acme, PER_MINUTE, 1);
      const { allowed, retryAfterMs } = await one.take(acme, PER_MINUTE, PER_MINUTE);
      expect(allowed).toBe(false);
      await limits.advance(retryAfterMs);
      expect(await one.take(acme, PER_MINUTE, PER_MINUTE)).toMatchObject({ allowed: true, remaining: 0 });
    });

    it('requests and points, callers and administration have limits of their own', async () => {
      const { one } = await opened();
      await one.take(acme, PER_MINUTE, PER_MINUTE);
      expect(await one.take(acme, PER_MINUTE)).toMatchObject({ allowed: false });
      for (const other of [{ meter: 'points' }, { lane: 'administration' }] as const)
        expect(await one.take({ ...acme, ...other }, PER_MINUTE)).toMatchObject({ allowed: true });
    });

    it('each tenant has a limit of its own', async () => {
      const { countAllowed } = await opened();
      expect(await countAllowed(10, PER_MINUTE)).toBe(PER_MINUTE);
      expect(await countAllowed(10, PER_MINUTE, globex)).toBe(PER_MINUTE);
    });
  });

it('the memory limiter forgets tenants that are rested', async () => {
  const clock = createTestClock();
  const limiter = createMemoryRateLimiter(clock);
  for (let n = 0; n < 1_000; n++) await limiter.take(subjectOf(`tenant-${n}`), 60);
  expect(limiter.count()).toBe(1_000);
  await clock.advance(60_000);
  await limiter.take(acme, 60);
  expect(limiter.count()).toBe(1);
});
