import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { REPAIRS_MAX } from '../../src/conversations/sweeper.ts';
import { LEASE_MS } from '../../src/conversations/upkeep.ts';
import { settle } from '../support/clock.ts';
import { collect } from '../support/collect.ts';
import { openEmbeddedStorage, type Storage } from '../support/dynamodb-storage.ts';
import { openBench, passTime, type Bench, type Process } from '../support/turn-bench.ts';

let storage: Storage;
beforeAll(async () => {
  storage = await openEmbeddedStorage();
});
afterAll(() => storage.close());

const parkedOf = async ({ dueStore, tenantId }: Bench) =>
  (await dueStore.parked()).filter((turn) => turn.tenantId === tenantId);

const poisoned = () => {
  throw new Error('poison');
};

/** A turn whose process died, and whose usage cannot be recorded. */
async function poisonTurn() {
  const bench = await openBench(storage);
  const dying = bench.process();
  const { assistantMessage } = await dying.send('What is the refund policy?');
  const answering = await dying.script.next();
  answering.say('So far');
  answering.give({ type: 'usage', inputTokens: 70, outputTokens: 7, modelId: 'nova' });
  await settle();
  await bench.clock.advance(10_000);
  await dying.until('messages.checkpoint');
  dying.die();
  return { bench, answerId: assistantMessage.id };
}

async function sweepPoisoned({ bench, sweeper }: { bench: Bench; sweeper: Process }, times: number) {
  sweeper.before('meter.recordTurn', poisoned);
  for (let tries = 0; tries < times; tries++) {
    await bench.clock.advance(LEASE_MS + 1);
    expect(await sweeper.sweeper.sweep()).toBe(0);
  }
}

describe('a turn whose repair fails', () => {
  it('is tried again up to the fifth time', async () => {
    const { bench } = await poisonTurn();
    const sweeper = bench.process();
    await sweepPoisoned({ bench, sweeper }, REPAIRS_MAX - 1);
    expect(await parkedOf(bench)).toEqual([]);
    sweeper.before('meter.recordTurn', null);
    await bench.clock.advance(LEASE_MS + 1);
    expect(await sweeper.sweeper.sweep()).toBe(1);
    expect(await bench.usage()).toMatchObject([{ inputTokens: 70, outputTokens: 7 }]);
  });

  it('five times is put aside: nobody sweeps it, the conversation is usable, its reader is told the end', async () => {
    const { bench, answerId } = await poisonTurn();
    const sweeper = bench.process();
    await sweepPoisoned({ bench, sweeper }, REPAIRS_MAX);
    const turn = (await bench.turnRow())!;
    expect(turn).toMatchObject({ parked: true, done: false });
    expect(await parkedOf(bench)).toEqual([
      {
        tenantId: bench.tenantId,
        turnKey: turn.key,
        turnId: turn.id,
        parkedAt: new Date(bench.clock.now()).toISOString(),
      },
    ]);
    expect(await bench.due()).toEqual([]);
    await bench.clock.advance(10 * LEASE_MS);
    expect(await bench.process().sweeper.sweep()).toBe(0);

    const late = await passTime(bench.clock, sweeper.request().turns.watch(answerId, 0).then(collect));
    expect(late).toMatchObject({ value: [{ type: 'FAILED', message: { content: 'So far' } }] });
    const next = bench.process();
    const sent = await next.send('And now?');
    expect(sent.userMessage.sequence).toBe(3);
    (await next.script.next()).end();
  });

  it('and is retried later: everything that was missing is done, exactly once', async () => {
    const { bench } = await poisonTurn();
    await sweepPoisoned({ bench, sweeper: bench.process() }, REPAIRS_MAX);
    expect(await bench.usage()).toEqual([]);
    const [parked] = await parkedOf(bench);
    expect(await bench.direct.turns.unpark(parked!.turnKey, bench.clock.now())).toBe(true);
    expect(await bench.direct.turns.unpark(parked!.turnKey, bench.clock.now())).toBe(false);
    await bench.clock.advance(1);
    const sweepers = [bench.process(), bench.process()];
    const repaired = await Promise.all(sweepers.map(({ sweeper }) => sweeper.sweep()));
    expect(repaired.toSorted()).toEqual([0, 1]);
    expect(await bench.usage()).toMatchObject([{ inputTokens: 70, outputTokens: 7 }]);
    expect(await bench.quota()).toMatchObject({ usedInMonth: 77, holds: {} });
    expect(await bench.due()).toEqual([]);
    expect(await parkedOf(bench)).toEqual([]);
    expect(await bench.turnRow()).toMatchObject({ done: true, parked: false });
  });

  it('and is retried once its conversation is deleted is counted all the same', async () => {
    const { bench } = await poisonTurn();
    await sweepPoisoned({ bench, sweeper: bench.process() }, REPAIRS_MAX);
    await bench.process().request().turns.delete(bench.conversation.id);
    await bench.clock.advance(LEASE_MS + 1);
    await bench.process().sweeper.sweep();
    expect(await bench.messages()).toEqual([]);
    const [parked] = await parkedOf(bench);
    await bench.direct.turns.unpark(parked!.turnKey, bench.clock.now());
    await bench.clock.advance(1);
    expect(await bench.process().sweeper.sweep()).toBe(1);
    expect(await bench.usage()).toMatchObject([
      { inputTokens: 70, outputTokens: 7, agentId: 'support', status: 'FAILED', errorCode: 'INTERRUPTED' },
    ]);
    expect(await bench.quota()).toMatchObject({ usedInMonth: 77, holds: {} });
    expect(await bench.messages()).toEqual([]);
    const row = (await storage.rowsOf(bench.tenantId)).find(({ PK }) => PK.includes('#TURN#'));
    expect(row).toMatchObject({ done: true });
    expect(row).not.toHaveProperty('unmetered');
  });

  it('because every process that tries dies of it, is put aside after five deaths', async () => {
    const { bench } = await poisonTurn();
    for (let deaths = 0; deaths < REPAIRS_MAX; deaths++) {
      await bench.clock.advance(LEASE_MS + 1);
      const dying = bench.process();
      const dead = dying.dieAfter('turns.claim');
      void dying.sweeper.sweep();
      await dead;
    }
    await bench.clock.advance(LEASE_MS + 1);
    expect(await bench.process().sweeper.sweep()).toBe(0);
    expect(await parkedOf(bench)).toHaveLength(1);
    expect((await bench.state())?.lock).toBeNull();
  });

  it('before its answer has ended keeps the text and the usage that were stored, for its reader and for its retry', async () => {
    const { bench } = await poisonTurn();
    const sweeper = bench.process();
    sweeper.before('messages.add', poisoned);
    for (let tries = 0; tries < REPAIRS_MAX; tries++) {
      await bench.clock.advance(LEASE_MS + 1);
      await sweeper.sweeper.sweep();
    }
    expect(await bench.answerOf()).toMatchObject({ status: 'FAILED', content: 'So far' });
    const [parked] = await parkedOf(bench);
    await bench.direct.turns.unpark(parked!.turnKey, bench.clock.now());
    await bench.clock.advance(1);
    expect(await bench.process().sweeper.sweep()).toBe(1);
    expect(await bench.usage()).toMatchObject([{ inputTokens: 70, outputTokens: 7 }]);
  });

  it('because its conversation cannot be read is put aside all the same', async () => {
    const { bench } = await poisonTurn();
    const sweeper = bench.process();
    sweeper.before('conversations.state', poisoned);
    for (let tries = 0; tries < REPAIRS_MAX; tries++) {
      await bench.clock.advance(LEASE_MS + 1);
      await sweeper.sweeper.sweep();
    }
    expect(await parkedOf(bench)).toHaveLength(1);
  });

  it('and whose lock could not be given back does not keep its conversation from being deleted', async () => {
    const { bench } = await poisonTurn();
    const sweeper = bench.process();
    sweeper.before('conversations.unlock', poisoned);
    await sweepPoisoned({ bench, sweeper }, REPAIRS_MAX);
    expect(await bench.state()).toMatchObject({ lock: { sequence: 1 } });
    await bench.process().request().turns.delete(bench.conversation.id);
    await bench.clock.advance(LEASE_MS + 1);
    await bench.process().sweeper.sweep();
    expect(await bench.state()).toBeNull();
    expect(await bench.messages()).toEqual([]);
  });

  it('a row of a newer version is left to newer instances', async () => {
    const { bench } = await poisonTurn();
    const row = (await storage.rowsOf(bench.tenantId)).find(({ PK }) => PK.includes('#TURN#'))!;
    await storage.putRaw({ ...row, v: 2 });
    await bench.clock.advance(LEASE_MS + 1);
    expect(await bench.process().sweeper.sweep()).toBe(0);
    expect((await bench.answerOf())?.status).toBe('STREAMING');
  });
});
