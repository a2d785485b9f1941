import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { LEASE_MS } from '../../src/conversations/upkeep.ts';
import { createSweeper, SWEEP_EVERY_MS } from '../../src/conversations/sweeper.ts';
import { AppError } from '../../src/kernel/errors.ts';
import { createTestClock, settle } from '../support/clock.ts';
import { collect } from '../support/collect.ts';
import { aTurn } from '../support/conversation-rows.ts';
import { openEmbeddedStorage, type Storage } from '../support/dynamodb-storage.ts';
import { numbersOf, openBench, passTime, type Process } from '../support/turn-bench.ts';

let storage: Storage;
beforeAll(async () => {
  storage = await openEmbeddedStorage();
});
afterAll(() => storage.close());

/** A turn that is being answered, with a reader of its stream. */
async function running() {
  const bench = await openBench(storage);
  const process = bench.process();
  const { assistantMessage } = await process.send();
  const answering = await process.script.next();
  const turn = (await bench.turnRow())!;
  const reader = collect((await process.stores.streams.read(assistantMessage.id, 0))!);
  const ended = () => process.generations.settled(turn.id);
  return { bench, process, answering, turn, reader, ended, answerId: assistantMessage.id };
}

/** From now on this step fails; resolves once it has, and whoever met it has done what it does then. */
function failingAt(process: Process, step: string): Promise<void> {
  const met = Promise.withResolvers<void>();
  process.before(step, () => {
    met.resolve();
    throw new Error('out of reach');
  });
  return met.promise.then(() => settle());
}

describe('a store that fails when an answer ends', () => {
  const STEPS = ['messages.end', 'meter.recordTurn', 'conversations.unlock', 'turns.finish', 'streams.append'];

  it.each(STEPS)(
    'at %s: the sweeper ends it, with one usage event and one terminal event in sequence',
    async (step) => {
      const { bench, process, answering, reader } = await running();
      answering.say('All ');
      answering.say('of it.');
      await settle();
      const failed = failingAt(process, step);
      answering.give({ type: 'usage', inputTokens: 100, outputTokens: 10, modelId: 'nova' });
      answering.end();
      await failed;
      process.before(step, null);
      await bench.clock.advance(LEASE_MS + 1);
      await process.sweeper.sweep();
      expect(process.sweepFaults).toEqual([]);

      const read = await passTime(bench.clock, reader).catch(() => null);
      const events = read?.status === 'fulfilled' ? read.value : [];
      expect(numbersOf(events)).toEqual([1, 2, 3]);
      expect(events.filter((event) => 'message' in event)).toHaveLength(1);
      const stored = await bench.answerOf();
      expect(stored).toMatchObject({
        content: 'All of it.',
        status: step === 'messages.end' ? 'FAILED' : 'COMPLETED',
        lastEvent: 3,
      });
      expect(events.at(-1)).toMatchObject({ message: { content: 'All of it.', status: stored!.status } });
      expect(await bench.usage()).toMatchObject([{ status: stored!.status }]);
      expect(await bench.due()).toEqual([]);
      expect(await bench.state()).toMatchObject({ lock: null });
    },
  );

  it('for a violation: what was withheld stays withheld through the repair', async () => {
    const { bench, process, answering, answerId } = await running();
    answering.say('SECRET');
    await settle();
    await bench.clock.advance(10_000);
    await process.until('messages.checkpoint');
    const failed = failingAt(process, 'messages.end');
    answering.fail(new AppError('ISOLATION_VIOLATION', 'Withheld.', { retryable: false }));
    await failed;
    process.before('messages.end', null);
    await bench.clock.advance(LEASE_MS + 1);
    await process.sweeper.sweep();
    const late = await passTime(bench.clock, process.request().turns.watch(answerId, 0).then(collect));
    expect((await bench.answerOf())?.status).toBe('FAILED');
    expect(JSON.stringify([await bench.answerOf(), late])).not.toContain('SECRET');
  });
});

describe('a turn that nobody renews', () => {
  it('that was to be cancelled is CANCELLED, with the text so far', async () => {
    const { bench, process, answering, turn } = await running();
    answering.say('So far');
    await settle();
    await bench.clock.advance(10_000);
    await process.until('messages.checkpoint');
    process.die();
    await bench.direct.turns.requestCancel(turn.key);
    await bench.clock.advance(LEASE_MS + 1);
    await bench.process().sweeper.sweep();
    expect(await bench.answerOf()).toMatchObject({ status: 'CANCELLED', content: 'So far', error: null });
    expect(await bench.usage()).toMatchObject([{ status: 'CANCELLED', errorCode: null }]);
  });

  it('and that its process ends after all, after the repair: the repair stands, and what it used counts once', async () => {
    const { bench, process, answering, ended } = await running();
    for (const name of ['turns.renew', 'messages.checkpoint'])
      process.before(name, () => {
        throw new Error('out of reach');
      });
    await bench.clock.advance(LEASE_MS + 1);
    const other = bench.process();
    expect(await other.sweeper.sweep()).toBe(1);
    answering.say('Too late');
    answering.give({ type: 'usage', inputTokens: 5, outputTokens: 5, modelId: null });
    answering.end();
    const told = process.until('turns.report');
    await ended();
    await told;
    expect(await bench.answerOf()).toMatchObject({ status: 'FAILED', content: '', error: { code: 'INTERRUPTED' } });
    await bench.clock.advance(1);
    expect(await other.sweeper.sweep()).toBe(1);
    expect(await bench.usage()).toMatchObject([
      { kind: 'TURN', status: 'FAILED', inputTokens: 0 },
      { kind: 'LATE_TOKENS', inputTokens: 5, outputTokens: 5 },
    ]);
    expect(await bench.quota()).toMatchObject({ usedInMonth: 10, holds: {} });
    expect(await bench.due()).toEqual([]);
    expect(await other.send('Next')).toMatchObject({ userMessage: { sequence: 3 } });
  });

  it('and whose conversation somebody else has locked since: that lock is left alone', async () => {
    const { bench, process, turn } = await running();
    process.die();
    await bench.direct.conversations.unlock(turn);
    const next = aTurn(bench.conversation);
    await bench.direct.conversations.lock(next, '2026-11-20T12:00:30.000Z');
    await bench.clock.advance(LEASE_MS + 1);
    await bench.process().sweeper.sweep();
    expect(await bench.answerOf()).toMatchObject({ status: 'FAILED' });
    const again = await bench.direct.conversations.lock(aTurn(bench.conversation), '2026-11-20T12:10:00.000Z');
    expect(again.locked).toBeNull();
  });
});

describe('a deletion', () => {
  it('that stopped after it was marked is finished', async () => {
    const { bench, process, answering, ended } = await running();
    answering.say('x');
    answering.end();
    await ended();
    const dead = process.dieAfter('conversations.markDeleting');
    void process.request().turns.delete(bench.conversation.id);
    await dead;
    const other = bench.process();
    expect(await other.sweeper.sweep()).toBe(0);
    await bench.clock.advance(LEASE_MS + 1);
    expect(await other.sweeper.sweep()).toBe(1);
    expect(await bench.state()).toBeNull();
    expect(await bench.messages()).toEqual([]);
    expect(await bench.due()).toEqual([]);
    expect(await bench.usage()).toHaveLength(1);
  });

  it('waits for the turn that runs on another instance, which is told to stop, and loses no usage', async () => {
    const { bench, process, answering, ended } = await running();
    answering.say('Partial');
    await settle();
    const other = bench.process();
    await other.request().turns.delete(bench.conversation.id);
    await Promise.all(other.background);
    expect((await bench.turnRow())?.cancelRequested).toBe(true);
    expect(await bench.messages()).toHaveLength(2);
    await bench.clock.advance(20_000);
    await process.until('turns.renew');
    await ended();
    expect(await bench.usage()).toMatchObject([{ status: 'CANCELLED' }]);
    await bench.clock.advance(LEASE_MS + 1);
    expect(await other.sweeper.sweep()).toBe(1);
    expect(await bench.state()).toBeNull();
    expect(await bench.messages()).toEqual([]);
    expect(await bench.due()).toEqual([]);
  });

  it('that is due while its turn still runs removes nothing yet', async () => {
    const { bench, process, answering, ended } = await running();
    answering.say('Partial');
    await settle();
    await bench.direct.conversations.markDeleting(bench.conversation.id, bench.clock.now());
    const deletion = { kind: 'DELETION', tenantId: bench.tenantId, conversationId: bench.conversation.id } as const;
    const sweeper = createSweeper({
      due: { due: () => Promise.resolve([deletion]) },
      storesOf: () => bench.process().stores,
      clock: bench.clock,
      log: { sweepFailed: () => undefined, repaired: () => undefined, parked: () => undefined },
    });
    expect(await sweeper.sweep()).toBe(0);
    expect(await bench.messages()).toHaveLength(2);
    answering.end();
    await ended();
    expect(process.faults).toEqual([]);
    expect(await bench.usage()).toMatchObject([{ status: 'COMPLETED' }]);
    expect(await sweeper.sweep()).toBe(1);
    expect(await bench.state()).toBeNull();
    expect(await bench.messages()).toEqual([]);
  });

  it('while the turn runs here stops it first, and then everything is gone', async () => {
    const { bench, process, answering } = await running();
    answering.say('Partial');
    await settle();
    await process.request().turns.delete(bench.conversation.id);
    expect(await process.request().conversations.find(bench.conversation.id)).toBeNull();
    await Promise.all(process.background);
    expect(answering.signal.aborted).toBe(true);
    expect(await bench.usage()).toMatchObject([{ status: 'CANCELLED' }]);
    expect(await bench.state()).toBeNull();
    expect(await bench.messages()).toEqual([]);
    expect(await bench.due()).toEqual([]);
  });

  it('of a conversation whose turn died with its process comes after the turn’s repair', async () => {
    const { bench, process } = await running();
    process.die();
    const other = bench.process();
    await other.request().turns.delete(bench.conversation.id);
    await Promise.all(other.background);
    for (let round = 0; round < 3; round++) {
      await bench.clock.advance(LEASE_MS + 1);
      await other.sweeper.sweep();
    }
    expect(other.sweepFaults).toEqual([]);
    expect(await bench.state()).toBeNull();
    expect(await bench.messages()).toEqual([]);
    expect(await bench.usage()).toHaveLength(1);
    expect(await bench.due()).toEqual([]);
  });
});

describe('sweeping', () => {
  it('one piece that cannot be repaired does not hold up the others, and stays due', async () => {
    const [bad, good] = [await running(), await running()];
    for (const { process } of [bad, good]) process.die();
    await bad.bench.clock.advance(LEASE_MS + 1);
    await good.bench.clock.advance(LEASE_MS + 1);
    const processes = new Map([bad, good].map(({ bench }) => [bench.tenantId, bench.process()]));
    processes.get(bad.bench.tenantId)!.before('conversations.state', () => {
      throw new Error('broken row');
    });
    const failed: unknown[] = [];
    const sweeper = createSweeper({
      due: {
        due: () =>
          Promise.resolve(
            [bad, good].map(
              ({ bench, turn }) => ({ kind: 'TURN', tenantId: bench.tenantId, turnKey: turn.key }) as const,
            ),
          ),
      },
      storesOf: (tenantId) => processes.get(tenantId)!.stores,
      clock: good.bench.clock,
      log: { sweepFailed: (work) => failed.push(work?.tenantId), repaired: () => undefined, parked: () => undefined },
    });
    expect(await sweeper.sweep()).toBe(1);
    expect(failed).toEqual([bad.bench.tenantId]);
    expect(await good.bench.answerOf()).toMatchObject({ status: 'FAILED' });
    expect(await bad.bench.due()).toHaveLength(1);
  });

  it('a piece that takes long does not hold up the others: after a crash every conversation is to be usable soon', async () => {
    const [slow, good] = [await running(), await running()];
    for (const { process } of [slow, good]) process.die();
    for (const { bench } of [slow, good]) await bench.clock.advance(LEASE_MS + 1);
    const processes = new Map([slow, good].map(({ bench }) => [bench.tenantId, bench.process()]));
    const hanging = Promise.withResolvers<void>();
    processes.get(slow.bench.tenantId)!.before('conversations.state', () => hanging.promise);
    const due = [slow, good].map(
      ({ bench, turn }) => ({ kind: 'TURN', tenantId: bench.tenantId, turnKey: turn.key }) as const,
    );
    const sweeper = createSweeper({
      due: { due: () => Promise.resolve(due) },
      storesOf: (tenantId) => processes.get(tenantId)!.stores,
      clock: good.bench.clock,
      log: { sweepFailed: () => undefined, repaired: () => undefined, parked: () => undefined },
    });
    const sweeping = sweeper.sweep();
    await processes.get(good.bench.tenantId)!.until('turns.finish');
    expect(await good.bench.answerOf()).toMatchObject({ status: 'FAILED' });
    hanging.resolve();
    expect(await sweeping).toBe(2);
  });

  it('begins at once, goes on every 10 s after the last one, survives a failure, and stops when told', async () => {
    const clock = createTestClock();
    const asked: number[] = [];
    const start = clock.now();
    const sweeper = createSweeper({
      due: {
        due: (now) => {
          asked.push(now - start);
          return asked.length === 2 ? Promise.reject(new Error('out of reach')) : Promise.resolve([]);
        },
      },
      storesOf: () => {
        throw new Error('nothing is due');
      },
      clock,
      log: { sweepFailed: () => undefined, repaired: () => undefined, parked: () => undefined },
    });
    const stop = sweeper.start();
    await settle();
    await clock.advance(3 * SWEEP_EVERY_MS);
    expect(asked).toEqual([0, 10_000, 20_000, 30_000]);
    await stop();
    await clock.advance(10 * SWEEP_EVERY_MS);
    expect(asked).toHaveLength(4);
    expect(clock.pending()).toBe(0);
  });
});
