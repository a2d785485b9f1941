import { afterAll, beforeAll, expect, it } from 'vitest';
import { createMemoryUsageChanges } from '../../src/adapters/memory/usage-changes.ts';
import { createLiveUsages } from '../../src/usage/live.ts';
import type { TokenLimits } from '../../src/usage/ports.ts';
import { createTestClock, settle } from '../support/clock.ts';
import { openEmbeddedStorage, type Storage } from '../support/dynamodb-storage.ts';
import { aTurn } from '../support/usage-rows.ts';

let storage: Storage;
beforeAll(async () => {
  storage = await openEmbeddedStorage();
});
afterAll(() => storage.close());

const NOON = Date.parse('2026-11-20T12:00:00.000Z');
const HOUR_MS = 3_600_000;

/** Somebody who watches a tenant, and what it takes to change what there is to see. */
async function watch() {
  const clock = createTestClock(NOON);
  const tenantId = storage.tenant();
  const { usage: store, quota } = storage.connect({ clock }).forTenant(tenantId);
  const changes = createMemoryUsageChanges();
  let limits: TokenLimits = { tokensPerDay: 1_000, tokensPerMonth: null };
  const source = { tenantId, store, quota, limits: () => Promise.resolve(limits) };
  const events = createLiveUsages(changes, clock).watch(source);
  /** What is pushed within a second. */
  async function pushed() {
    const next = events.next();
    await clock.advance(1_000);
    return (await next).value!;
  }
  await pushed();
  return {
    ...{ clock, pushed },
    limitTo: (tokensPerDay: number) => (limits = { tokensPerDay, tokensPerMonth: null }),
    /** A turn as another instance records it, by its own clock. */
    record: async (at: number) => {
      await store.record(aTurn(at));
      changes.changed(tenantId);
      await settle();
    },
    leave: async () => void (await events.return?.()),
  };
}

it('a turn of an instance whose clock is ahead is seen with its change, not with the next one', async () => {
  const { clock, pushed, record, leave } = await watch();
  await record(clock.now() + 5_000);
  expect((await pushed()).day).toMatchObject({ invocations: 1, inputTokens: 120 });
  await leave();
});

it('what changes is pushed within a second also where the clock was put back', async () => {
  const { clock, pushed, record, leave } = await watch();
  await clock.skip(-HOUR_MS);
  await record(clock.now());
  expect((await pushed()).day).toMatchObject({ invocations: 1 });
  await leave();
});

it('a limit that was changed is the one that is shown from the next push on', async () => {
  const { clock, pushed, record, limitTo, leave } = await watch();
  limitTo(5_000);
  await record(clock.now());
  expect((await pushed()).day).toMatchObject({ tokensLimit: 5_000, tokensRemaining: 5_000 });
  await leave();
});
