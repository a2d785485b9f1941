import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createMemoryGenerationSlots } from '../../src/adapters/memory/generation-slots.ts';
import { parseTenantId, type TenantId } from '../../src/tenancy/tenant-id.ts';
import { createTestClock } from '../support/clock.ts';
import { openInstallation, REDIS_NAME, REDIS_URL, type Installation } from '../support/redis.ts';

const [acme, globex] = [parseTenantId('acme')!, parseTenantId('globex')!];
const turns = (count: number) => Array.from({ length: count }, (_, n) => `turn-${n}`);

describe('GenerationSlots on memory', () => {
  it('there is always a place, and none is freed elsewhere', async () => {
    const slots = createMemoryGenerationSlots();
    const freed: TenantId[] = [];
    slots.onFreed((tenantId) => freed.push(tenantId));
    for (const turn of turns(10)) expect(await slots.take(acme, turn, 1)).toBe(true);
    for (const turn of turns(10)) await slots.release(acme, turn);
    expect(freed).toEqual([]);
  });
});

describe.skipIf(!REDIS_URL)(`GenerationSlots on ${REDIS_NAME}`, () => {
  let installation: Installation;
  beforeEach(() => {
    installation = openInstallation(REDIS_URL!);
  });
  afterEach(() => installation.close());

  const twoInstances = async () =>
    [(await installation.connect()).slots, (await installation.connect()).slots] as const;

  it('100 takers at once on two instances: exactly as many places are given as there are', async () => {
    const [one, other] = await twoInstances();
    const given = await Promise.all(turns(100).map((turn, n) => (n % 2 ? one : other).take(acme, turn, 7)));
    expect(given.filter(Boolean)).toHaveLength(7);
  });

  it('a place that is given back is given again, each tenant has its own', async () => {
    const [one, other] = await twoInstances();
    expect(await one.take(acme, 'a', 1)).toBe(true);
    expect(await other.take(acme, 'b', 1)).toBe(false);
    expect(await other.take(globex, 'c', 1)).toBe(true);
    await one.release(acme, 'a');
    expect(await other.take(acme, 'b', 1)).toBe(true);
    expect(await one.take(acme, 'a', 1)).toBe(false);
  });

  it('a turn takes one place however often it asks, and gives back no other', async () => {
    const [one, other] = await twoInstances();
    for (let time = 0; time < 3; time++) expect(await one.take(acme, 'a', 2)).toBe(true);
    expect(await other.take(acme, 'b', 2)).toBe(true);
    expect(await other.take(acme, 'c', 2)).toBe(false);
    expect(await other.take(acme, 'a', 2)).toBe(true);
    await other.release(acme, 'c');
    expect(await other.take(acme, 'c', 2)).toBe(false);
  });

  it('the other instances are told of the tenant whose place was freed, this one is not', async () => {
    const [one, other] = await twoInstances();
    const heard: string[] = [];
    one.onFreed((tenantId) => heard.push(`one: ${tenantId}`));
    const told = new Promise<void>((resolve) => {
      other.onFreed((tenantId) => {
        heard.push(`other: ${tenantId}`);
        if (tenantId === globex) resolve();
      });
    });
    await one.take(acme, 'a', 1);
    await one.release(acme, 'a');
    await one.take(globex, 'b', 1);
    await one.release(globex, 'b');
    await told;
    expect(heard).toEqual(['other: acme', 'other: globex']);
  });

  it('the place of a dead instance expires, and who was refused is told then; a living one holds its own', async () => {
    const clock = createTestClock();
    const stopped = createTestClock(); // an instance that renews nothing is as good as dead
    const dead = await installation.connect({ clock: stopped, slotHeldMs: 60_000 });
    const living = await installation.connect({ clock, slotHeldMs: 60_000 });
    const waiting = await installation.connect({ clock, slotHeldMs: 60_000 });
    expect(await dead.slots.take(acme, 'a', 2)).toBe(true);
    expect(await living.slots.take(acme, 'b', 2)).toBe(true);
    expect(await waiting.slots.take(acme, 'c', 2)).toBe(false);
    const told = new Promise<TenantId>((resolve) => waiting.slots.onFreed(resolve));
    for (const _ of [1, 2, 3]) {
      await installation.elapse(20_000);
      await clock.advance(20_000);
      await living.slots.take(globex, 'd', 9); // sent after the renewal, so answered after it
    }
    expect(await told).toBe(acme);
    expect(await waiting.slots.take(acme, 'c', 2)).toBe(true);
    expect(await waiting.slots.take(acme, 'e', 2)).toBe(false);
  });

  it('a place that was given back is not renewed', async () => {
    const clock = createTestClock();
    const one = await installation.connect({ clock });
    await one.slots.take(acme, 'a', 1);
    await one.slots.release(acme, 'a');
    await clock.advance(20_000);
    await one.slots.take(globex, 'b', 1);
    expect(await one.slots.take(acme, 'c', 1)).toBe(true);
  });
});
