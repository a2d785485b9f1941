import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createMemoryAttemptCounters } from '../../src/adapters/memory/attempt-counters.ts';
import type { OpenAttemptCounter } from '../../src/auth/ports.ts';
import { openInstallation, REDIS_NAME, REDIS_URL, type Installation } from '../support/redis.ts';

const LIMIT = { max: 3, windowMs: 60_000 };

/** What is promised of counters, wherever they are kept. */
function contract(openCounters: () => Promise<OpenAttemptCounter>) {
  it('lets as many pass as it may in a window, and then says how long to wait; other keys and names have their own', async () => {
    const counters = await openCounters();
    const [one, other] = [counters('one', LIMIT), counters('other', LIMIT)];
    for (let n = 0; n < 3; n++) expect(await one.add('mia')).toBe(0);
    for (const wait of [await one.add('mia'), await one.wait('mia')]) {
      expect(wait).toBeGreaterThan(0);
      expect(wait).toBeLessThanOrEqual(60_000);
    }
    expect([await one.wait('max'), await one.add('max'), await other.add('mia')]).toEqual([0, 0, 0]);
  });

  it('takes one back, and forgets a key', async () => {
    const counter = (await openCounters())('one', LIMIT);
    for (let n = 0; n < 3; n++) await counter.add('mia');
    expect(await counter.wait('mia')).toBeGreaterThan(0);
    await counter.takeBack('mia');
    expect(await counter.wait('mia')).toBe(0);
    expect([await counter.add('mia'), (await counter.add('mia')) > 0]).toEqual([0, true]);
    await counter.forget('mia');
    for (let n = 0; n < 3; n++) expect(await counter.add('mia')).toBe(0);
  });
}

describe('AttemptCounters on memory', () => contract(() => Promise.resolve(createMemoryAttemptCounters())));

describe.skipIf(!REDIS_URL)(`AttemptCounters on ${REDIS_NAME}`, () => {
  let installation: Installation;
  beforeEach(() => {
    installation = openInstallation(REDIS_URL!);
  });
  afterEach(() => installation.close());

  contract(async () => (await installation.connect()).attemptCounters);

  it('are those of all instances together', async () => {
    const [one, other] = [await installation.connect(), await installation.connect()];
    const [here, there] = [one.attemptCounters('one', LIMIT), other.attemptCounters('one', LIMIT)];
    const waits = await Promise.all(Array.from({ length: 20 }, (_, n) => (n % 2 ? here : there).add('mia')));
    expect(waits.filter((wait) => wait === 0)).toHaveLength(3);
  });

  it('are each instance’s own while Redis is away, and nobody waits for it', async () => {
    const lonely = openInstallation('redis://127.0.0.1:1');
    const alone = lonely.start().attemptCounters('one', LIMIT);
    for (let n = 0; n < 3; n++) expect(await alone.add('mia')).toBe(0);
    expect(await alone.add('mia')).toBeGreaterThan(0);
    expect(await alone.wait('mia')).toBeGreaterThan(0);
    await alone.takeBack('mia');
    await alone.forget('mia');
    expect(await alone.add('mia')).toBe(0);
    await lonely.close();
  });
});
