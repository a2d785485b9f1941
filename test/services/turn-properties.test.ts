import fc from 'fast-check';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { AnswerPart } from '../../src/conversations/ports.ts';
import { openEmbeddedStorage, type Storage } from '../support/dynamodb-storage.ts';
import { checkAtRest } from '../support/turn-invariants.ts';
import { openRun, type Run } from '../support/turn-run.ts';

let storage: Storage;
beforeAll(async () => {
  storage = await openEmbeddedStorage();
});
afterAll(() => storage.close());

/** Seeds of the runs: fixed, so that a change that fails here fails everywhere. */
const SEEDS = [302, 303, 903];
const RUNS_PER_SEED = 18;
const COMMANDS_MAX = 25;
/** Leases that may run out in one run: a turn whose repair is cut off more often is put aside. */
const LEASES_MAX = 4;
const LEASE_OVER_MS = 61_000;

const place = fc.nat({ max: 1 });
const which = fc.nat({ max: 5 });
const text = fc.constantFrom('A', ' piece', ' of it.', 'Refunds take 14 days, and no longer than that.');

const part: fc.Arbitrary<AnswerPart> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ type: fc.constant('text' as const), text }) },
  {
    weight: 2,
    arbitrary: fc.record({
      type: fc.constant('usage' as const),
      inputTokens: fc.constantFrom(10, 700, 5_000),
      outputTokens: fc.constantFrom(3, 90, 4_100),
      modelId: fc.constant('nova'),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      type: fc.constant('step' as const),
      inputCharacters: fc.constantFrom(1, 400),
      modelId: fc.constant(null),
    }),
  },
);

const action = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('send' as const),
      place,
      conversation: place,
      key: fc.constantFrom(null, 'one', 'two'),
      variant: fc.constantFrom(0, 0, 0, 1),
    }),
  },
  {
    weight: 7,
    arbitrary: fc.record({
      do: fc.constant('say' as const),
      which,
      parts: fc.array(part, { minLength: 1, maxLength: 4 }),
      end: fc.constantFrom('OPEN' as const, 'OPEN' as const, 'ENDED' as const, 'FAILED' as const),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('cancel' as const), place, which }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('watch' as const), place, which, after: fc.nat({ max: 3 }) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('leave' as const), which }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('resume' as const), place, which }) },
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant('stall' as const),
      place,
      calls: fc.constantFrom(40, 40, 14, 9, 5),
      parts: fc.array(part, { maxLength: 2 }),
      end: fc.constantFrom('OPEN' as const, 'ENDED' as const, 'FAILED' as const),
    }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('crash' as const), place, calls: fc.nat({ max: 12 }) }) },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('time' as const),
      ms: fc.constantFrom(50, 1_000, 10_000, 20_000, LEASE_OVER_MS),
      calm: fc.boolean(),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant('sweep' as const), places: fc.constantFrom([0], [1], [0, 1]) }),
  },
);

/** What is done, and which of the waiting store calls are let through after it. */
const command = fc.record({ action, calls: fc.array(fc.nat({ max: 6 }), { maxLength: 20 }) });

const setup = fc.record({
  shared: fc.boolean(),
  runningMax: fc.constantFrom(100, 1),
  coalesceMs: fc.constantFrom(0, 40),
});

type Action = typeof action extends fc.Arbitrary<infer T> ? T : never;

function createPlayer(run: Run) {
  let sends = 0;
  let leases = 0;
  return async (step: Action) => {
    switch (step.do) {
      case 'send': {
        const { key, conversation, variant } = step;
        const content = key === null ? `Question ${++sends}?` : `Question ${key} ${variant} of ${conversation}?`;
        return run.send(step.place, conversation, key, content);
      }
      case 'say':
        return run.give(step.which, step.parts, step.end);
      case 'cancel':
        return run.cancel(step.place, step.which);
      case 'watch':
        return run.watch(step.place, step.which, step.after);
      case 'leave':
        return run.leave(step.which);
      case 'resume':
        return run.resume(step.place, step.which);
      case 'crash':
        run.crash(step.place, step.calls);
        return run.replaceDead();
      case 'stall':
        return ++leases > LEASES_MAX ? undefined : run.stall(step.place, LEASE_OVER_MS, step);
      case 'time': {
        if (step.ms === LEASE_OVER_MS && ++leases > LEASES_MAX) return;
        return step.calm ? run.calm(step.ms) : run.pass(step.ms);
      }
      case 'sweep':
        return run.sweep(step.places);
    }
  };
}

/** Whatever happened, the next message of each conversation is answered. */
async function checkUsable(run: Run) {
  const last = [...run.conversations.keys()].map((index) => run.send(index, index, null, `The last of ${index}?`));
  await run.endAgents();
  for (const { error, result } of last) {
    expect(error).toBeNull();
    expect(run.ends.get(result!.assistantMessage.id)).toContain('COMPLETED');
  }
}

it.each(SEEDS)(
  'whatever is sent, repeated, cancelled, watched, cut off, swept and crashed in whatever order, every turn ends once and is metered once (seed %i)',
  async (seed) => {
    const property = fc.asyncProperty(
      setup,
      fc.array(command, { minLength: 5, maxLength: COMMANDS_MAX, size: 'max' }),
      async (options, commands) => {
        const run = await openRun(storage, options);
        const play = createPlayer(run);
        for (const { action, calls } of commands) {
          await play(action);
          await run.release(calls);
          expect(run.faults).toEqual([]);
        }
        await run.toQuiet();
        await checkUsable(run);
        await checkAtRest(run);
      },
    );
    await fc.assert(property, {
      seed,
      numRuns: RUNS_PER_SEED,
      interruptAfterTimeLimit: 40_000,
      markInterruptAsFailure: true,
    });
  },
  120_000,
);
