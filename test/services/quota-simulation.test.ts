import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ulid } from '../../src/kernel/ids.ts';
import { createQuotaUpkeep } from '../../src/usage/quota-upkeep.ts';
import { createTokenQuota, periodOf } from '../../src/usage/quota.ts';
import { createTestClock } from '../support/clock.ts';
import { openEmbeddedStorage, type Storage } from '../support/dynamodb-storage.ts';
import { passTime } from '../support/turn-bench.ts';

let storage: Storage;
beforeAll(async () => {
  storage = await openEmbeddedStorage();
});
afterAll(() => storage.close());

const HELD = 4_000;
const NO_LIMITS = { tokensPerDay: null, tokensPerMonth: null };
const MINUTE = 60_000;
/** The last quarter of an hour of November, and the first of December. */
const BEFORE_MIDNIGHT = Date.parse('2026-11-30T23:45:00.000Z');
const MONTHS = ['2026-11', '2026-12'] as const;

/** Whole numbers from 0 to below `n`, the same in every run (a linear congruential generator, Numerical Recipes). */
function numbers(seed: number) {
  let state = seed;
  return (n: number) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * n);
  };
}

/** What became of a turn, and all that was counted of it. */
interface Simulated {
  readonly id: string;
  /** What it used when it was settled, and what turned up later. */
  used: number;
  late: number;
  /** Its process died: nobody but the upkeep or a sweeper ends it. */
  fate: 'SETTLED' | 'SWEPT' | 'STRAY';
}

async function openSimulation(seed: number) {
  const random = numbers(seed);
  const tenantId = storage.tenant();
  const clock = createTestClock(BEFORE_MIDNIGHT);
  const proxy = await storage.proxy();
  const db = storage.connect({ clock });
  const store = db.forTenant(tenantId).quota;
  const lossy = storage.connect({ clock, proxy }).forTenant(tenantId).quota;
  const lost = new Set<string>();

  /** A process: one of two ways to the store, of which one loses every eighth answer. */
  const process = () =>
    createTokenQuota({
      store: random(2) === 0 ? store : lossy,
      limits: NO_LIMITS,
      reserveTokens: HELD,
      changed: () => undefined,
    });

  proxy.decide(({ operation, body }) => {
    // The same request, when it is tried again, is answered: a third loss would be the end of it.
    if (operation !== 'UpdateItem' || lost.has(body) || random(8) !== 0) return 'pass';
    lost.add(body);
    return 'lose';
  });

  const open = new Set<string>();
  const upkeep = () =>
    createQuotaUpkeep({
      // eslint-disable-next-line @typescript-eslint/require-await
      tenants: async function* () {
        yield tenantId;
      },
      storeOf: () => store,
      openTurns: () => Promise.resolve(open),
      clock,
      log: {
        released: () => undefined,
        upkeepFailed: (_tenantId, error) => {
          throw error as Error;
        },
      },
    });

  return {
    random,
    clock,
    store,
    open,
    process,
    lost: () => lost.size,
    /** What the upkeep does in its next round, by two instances at once. */
    tidy: () => passTime(clock, Promise.all([upkeep().pass(), upkeep().pass()])),
  };
}

type Simulation = Awaited<ReturnType<typeof openSimulation>>;

/** One turn with everything that can become of it; each step may be done twice. */
async function simulate({ random, clock, open, process }: Simulation): Promise<Simulated> {
  const quota = process();
  const id = ulid(clock.now() + random(30 * MINUTE));
  const turn: Simulated = { id, used: 0, late: 0, fate: 'SETTLED' };
  const twice = async (step: () => Promise<unknown>) => {
    await step();
    if (random(4) === 0) await step();
  };
  /** As a repair does it, here or on two instances at once. */
  const sweep = async () => {
    turn.fate = 'SWEPT';
    const settled = () => process().settle(id, turn.used, { fence: true });
    await (random(2) === 0 ? settled() : Promise.all([settled(), settled()]));
  };
  const comeBack = () => quota.reserve(id).catch((error: { code?: string }) => expect(error.code).toBe('INTERRUPTED'));

  open.add(id);
  const path = random(6);
  if (path === 0) {
    // Taken for dead before it reserved: the fence keeps the zombie out, also one that tries again.
    await sweep();
    await twice(comeBack);
    open.delete(id);
    return turn;
  }
  await twice(() => quota.reserve(id));
  for (let raises = random(3); raises > 0; raises--) {
    turn.used += random(7_000);
    await twice(() => quota.raise(id, turn.used));
  }
  if (path === 1) {
    turn.fate = 'STRAY'; // its turn is gone, its hold is not
    turn.used = 0;
    open.delete(id);
    return turn;
  }
  if (path === 2) {
    // A zombie: the repair knows less than it does, and it settles too, with what it knows.
    const known = turn.used;
    await sweep();
    await twice(() => quota.settle(id, known + 900));
    await twice(comeBack);
    turn.late = random(2) === 0 ? 900 : -Math.min(known, 50);
    await twice(() => process().settleLate(id, turn.late));
  } else if (path === 3) {
    // Turn and repair settle at once, with the same.
    await Promise.all([quota.settle(id, turn.used), sweep()]);
  } else {
    await twice(() => quota.settle(id, turn.used));
    if (path === 4) await sweep();
  }
  open.delete(id);
  return turn;
}

const sum = (turns: readonly Simulated[]) => turns.reduce((total, { used, late }) => total + used + late, 0);

describe.each([20_261_130, 7])('turns over the end of a month, numbers from %i', (seed) => {
  it('drift by nothing: raises, repeats, lost answers, zombies, racing sweepers, late tokens and stray holds', async () => {
    const simulation = await openSimulation(seed);
    const { store, clock } = simulation;
    const turns: Simulated[] = [];
    await Promise.all(
      Array.from({ length: 8 }, async () => {
        for (let n = 0; n < 19; n++) turns.push(await simulate(simulation));
      }),
    );
    expect(simulation.lost()).toBeGreaterThan(20);
    for (const fate of ['SETTLED', 'SWEPT', 'STRAY'])
      expect(turns.filter((turn) => turn.fate === fate).length).toBeGreaterThan(10);

    const strays = turns.filter(({ fate }) => fate === 'STRAY').map(({ id }) => id);
    const held = (await Promise.all(MONTHS.map((month) => store.state(month)))).flatMap(({ holds }) =>
      Object.keys(holds),
    );
    expect(held.toSorted()).toEqual(strays.toSorted());

    await clock.advance(46 * MINUTE);
    await simulation.tidy();
    await clock.advance(61 * MINUTE);
    await simulation.tidy();
    for (const month of MONTHS) {
      const own = turns.filter(({ id }) => periodOf(id).month === month);
      expect(own.length).toBeGreaterThan(30);
      const state = await store.state(month);
      expect(state).toEqual({ usedInMonth: sum(own), usedOnDay: 0, holds: {}, fenced: [] });
      // The counter of the day is shown to whoever is refused for it.
      const [first] = own;
      const limits = { tokensPerDay: 0, tokensPerMonth: null };
      const refused = await store.reserve(
        ulid(Date.parse(`${month}-${periodOf(first!.id).day}`)),
        periodOf(first!.id),
        1,
        limits,
      );
      expect(refused).toMatchObject({ usedInMonth: sum(own), usedOnDay: sum(own) });
    }
  });
});

it.each([
  ['month', { tokensPerMonth: 30_000, tokensPerDay: null }],
  ['day', { tokensPerMonth: null, tokensPerDay: 30_000 }],
] as const)(
  'of 50 turns that come and go at once, the %s is never overdrawn by more than one reservation',
  async (_, limits) => {
    const random = numbers(50);
    const tenantId = storage.tenant();
    const { quota: store } = storage.connect().forTenant(tenantId);
    const id = () => ulid(BEFORE_MIDNIGHT);
    const { month } = periodOf(id());
    let settled = 0;
    let most = 0;
    await Promise.all(
      Array.from({ length: 50 }, async () => {
        const quota = createTokenQuota({ store, limits, reserveTokens: HELD, changed: () => undefined });
        for (const turnId of [id(), id()]) {
          const refusal = await quota.reserve(turnId).then(
            () => null,
            (error: { readonly code?: string }) => error,
          );
          most = Math.max(most, (await store.state(month)).usedInMonth);
          if (refusal) {
            expect(refusal.code).toBe('QUOTA_EXCEEDED');
            continue;
          }
          const used = random(HELD + 1);
          settled += used;
          await quota.settle(turnId, used);
        }
      }),
    );
    expect(most).toBeLessThan(30_000 + HELD);
    expect(settled).toBeGreaterThan(20_000);
    expect(await store.state(month)).toMatchObject({ usedInMonth: settled, holds: {} });
  },
);
