import { afterAll, beforeAll, expect, it } from 'vitest';
import { LEASE_MS } from '../../src/conversations/upkeep.ts';
import { settle } from '../support/clock.ts';
import { openEmbeddedStorage, type Storage } from '../support/dynamodb-storage.ts';
import { openBench, type Bench } from '../support/turn-bench.ts';

let storage: Storage;
beforeAll(async () => {
  storage = await openEmbeddedStorage();
});
afterAll(() => storage.close());

const tokensOf = async (bench: Bench) =>
  (await bench.usage()).reduce(
    (sum, event) => sum + (event.kind === 'SIGN_IN' ? 0 : event.inputTokens + event.outputTokens),
    0,
  );

/** A turn that cannot renew its lease, is repaired by another process, and then finds out: a zombie. */
async function zombie(parts: { readonly before: number; readonly after: number }) {
  const bench = await openBench(storage);
  const process = bench.process();
  await process.send('What is the refund policy?');
  const answering = await process.script.next();
  answering.say('Before');
  answering.give({ type: 'usage', inputTokens: parts.before, outputTokens: 0, modelId: 'nova' });
  await settle();
  await bench.clock.advance(10_000);
  await process.until('messages.checkpoint');
  for (const name of ['turns.renew', 'messages.checkpoint'])
    process.before(name, () => {
      throw new Error('out of reach');
    });
  await bench.clock.advance(LEASE_MS + 1);
  if (parts.after > 0) answering.give({ type: 'usage', inputTokens: parts.after, outputTokens: 0, modelId: 'nova' });
  await settle();
  expect(await bench.process().sweeper.sweep()).toBe(1);
  process.before('turns.renew', null);
  await bench.clock.advance(20_000);
  await process.until('turns.report');
  await bench.clock.advance(1);
  return { bench, process, answering };
}

it('what a turn used after it was taken over is metered as late tokens, once, and the quota agrees', async () => {
  const { bench, process } = await zombie({ before: 100, after: 45 });
  expect((await bench.usage()).map(({ kind }) => kind)).toEqual(['TURN']);
  expect(await bench.process().sweeper.sweep()).toBe(1);
  expect(await bench.usage()).toMatchObject([
    { kind: 'TURN', status: 'FAILED', errorCode: 'INTERRUPTED' },
    { kind: 'LATE_TOKENS', inputTokens: 45, outputTokens: expect.any(Number) as number, agentId: 'support' },
  ]);
  const sum = await tokensOf(bench);
  expect(await bench.quota()).toMatchObject({ usedInMonth: sum, holds: {} });
  const turn = (await bench.turnRow())!;
  await process.stores.quota.settleLate(turn.id, 45);
  expect(await bench.quota()).toMatchObject({ usedInMonth: sum });
});

it('the same where the conversation is deleted before they are metered', async () => {
  const { bench } = await zombie({ before: 100, after: 45 });
  const process = bench.process();
  await process.request().turns.delete(bench.conversation.id);
  await process.until('conversations.purge');
  expect(await process.sweeper.sweep()).toBe(1);
  expect(await bench.messages()).toEqual([]);
  expect((await bench.usage()).map(({ kind }) => kind)).toEqual(['TURN', 'LATE_TOKENS']);
  expect(await bench.quota()).toMatchObject({ usedInMonth: await tokensOf(bench), holds: {} });
});

it('where the repair knew all of it, nothing is added', async () => {
  const { bench } = await zombie({ before: 100, after: 0 });
  expect(await bench.process().sweeper.sweep()).toBe(1);
  const kinds = (await bench.usage()).map(({ kind }) => kind);
  expect(kinds).toEqual(['TURN']);
  expect(await bench.quota()).toMatchObject({ usedInMonth: await tokensOf(bench), holds: {} });
});

it('what is told while a repair is under way is metered by whoever ends the turn', async () => {
  const bench = await openBench(storage);
  const process = bench.process();
  await process.send('What is the refund policy?');
  const answering = await process.script.next();
  answering.give({ type: 'usage', inputTokens: 500, outputTokens: 10, modelId: 'nova' });
  await settle();
  process.before('turns.renew', () => {
    throw new Error('out of reach');
  });
  process.before('messages.checkpoint', () => {
    throw new Error('out of reach');
  });
  await bench.clock.advance(LEASE_MS + 1);
  const turn = (await bench.turnRow())!;
  const other = bench.process();
  await other.stores.turns.claim(turn.key, bench.clock.now(), bench.clock.now() + LEASE_MS);
  process.before('turns.renew', null);
  await bench.clock.advance(20_000); // it knows that it lost its turn; the other has not ended it
  expect(await bench.usage()).toEqual([]);
  await bench.clock.advance(LEASE_MS);
  expect(await bench.process().sweeper.sweep()).toBe(1); // the other died too
  await process.until('turns.report');
  expect(await tokensOf(bench)).toBe(510);
  expect(await bench.quota()).toMatchObject({ usedInMonth: 510, holds: {} });
});

it('a turn that ends before it notices that it was repaired has its late tokens metered too', async () => {
  const bench = await openBench(storage);
  const process = bench.process();
  await process.send('What is the refund policy?');
  const answering = await process.script.next();
  process.before('turns.renew', () => Promise.reject(new Error('out of reach')));
  process.before('messages.checkpoint', () => Promise.reject(new Error('out of reach')));
  await bench.clock.advance(LEASE_MS + 1);
  expect(await bench.process().sweeper.sweep()).toBe(1);
  const told = process.until('turns.report');
  answering.say('All of it.');
  answering.give({ type: 'usage', inputTokens: 500, outputTokens: 10, modelId: 'nova' });
  answering.end();
  await told;
  await bench.clock.advance(1);
  expect(await bench.process().sweeper.sweep()).toBe(1);
  expect(await tokensOf(bench)).toBe(510);
  expect(await bench.quota()).toMatchObject({ usedInMonth: 510, holds: {} });
});

it('what was told is not lost when whoever meters it dies, nor metered twice', async () => {
  const { bench } = await zombie({ before: 100, after: 45 });
  for (const step of ['meter.recordLateTokens', 'quota.settleLate']) {
    const dying = bench.process();
    const dead = dying.dieAfter(step);
    void dying.sweeper.sweep();
    await dead;
    await bench.clock.advance(LEASE_MS + 1);
  }
  expect(await bench.process().sweeper.sweep()).toBe(1);
  expect((await bench.usage()).map(({ kind }) => kind)).toEqual(['TURN', 'LATE_TOKENS']);
  expect(await bench.quota()).toMatchObject({ usedInMonth: await tokensOf(bench), holds: {} });
  expect(await bench.turnRow()).toMatchObject({ done: true });
  expect(await bench.due()).toEqual([]);
});

it('what is told between the last step of a repair and its end keeps the turn due', async () => {
  const bench = await openBench(storage);
  const process = bench.process();
  await process.send('What is the refund policy?');
  (await process.script.next()).give({ type: 'usage', inputTokens: 9, outputTokens: 1, modelId: 'nova' });
  await settle();
  process.die();
  await bench.clock.advance(LEASE_MS + 1);
  const turn = (await bench.turnRow())!;
  const repairing = bench.process();
  const use = { modelId: 'nova', inputTokens: 500, outputTokens: 10, estimatedTokens: 0 };
  repairing.before('turns.finish', () => bench.direct.turns.report(turn, [use], bench.clock.now()));
  await repairing.sweeper.sweep();
  expect(await bench.turnRow()).toMatchObject({ done: false });
  await bench.clock.advance(LEASE_MS + 1);
  expect(await bench.process().sweeper.sweep()).toBe(1);
  expect(await tokensOf(bench)).toBe(510);
  expect(await bench.quota()).toMatchObject({ usedInMonth: 510, holds: {} });
});
