import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CHECKPOINT_EVERY_MS } from '../../src/conversations/upkeep.ts';
import { AppError } from '../../src/kernel/errors.ts';
import { settle } from '../support/clock.ts';
import { openEmbeddedStorage, type Storage } from '../support/dynamodb-storage.ts';
import { openBench, passTime, type Bench } from '../support/turn-bench.ts';

let storage: Storage;
beforeAll(async () => {
  storage = await openEmbeddedStorage();
});
afterAll(() => storage.close());

const KEY = 'the key';
const QUESTION = 'What is the refund policy?';
const HELD = 4_000;

const REFUSALS = [
  { name: 'the tokens are used up', error: new AppError('QUOTA_EXCEEDED', 'Used up.') },
  { name: 'the store of the quota does not answer', error: new Error('connection refused') },
];

async function nothingIsLeft(bench: Bench) {
  expect(await bench.messages()).toEqual([]);
  expect(await bench.turnRow()).toBeNull();
  expect(await bench.due()).toEqual([]);
  expect(await bench.usage()).toEqual([]);
  // Not even its place in the list has changed.
  const { updatedAt } = bench.conversation;
  expect(await bench.state()).toMatchObject({ lock: null, conversation: { messageCount: 0, updatedAt } });
  expect((await bench.quota()).holds).toEqual({});
}

describe.each(REFUSALS)('a turn is refused when $name', ({ error }) => {
  it('before the agent is asked, with nothing stored, nothing held and the key free; the next one has the first number', async () => {
    const bench = await openBench(storage);
    const process = bench.process();
    await bench.clock.advance(5_000);
    process.before('quota.reserve', () => Promise.reject(error));
    await expect(process.send(QUESTION, KEY)).rejects.toBe(error);
    expect(process.generations.count()).toBe(0);
    await nothingIsLeft(bench);

    process.before('quota.reserve', null);
    const sent = await process.send('Other content, same key', KEY);
    expect(sent.userMessage.sequence).toBe(1);
    (await process.script.next()).end();
  });
});

it('a turn that is refused for another reason holds no tokens', async () => {
  const bench = await openBench(storage);
  const process = bench.process();
  const running = await process.send(QUESTION);
  await expect(process.send(QUESTION)).rejects.toMatchObject({ code: 'CONVERSATION_BUSY' });
  const { holds } = await bench.quota();
  expect(Object.values(holds)).toEqual([HELD]); // of the turn that runs
  expect(running.userMessage.sequence).toBe(1);
  (await process.script.next()).end();
});

it('a turn that uses more than it holds raises its hold while it runs, and is settled to the token', async () => {
  const bench = await openBench(storage);
  const process = bench.process();
  await process.send(QUESTION);
  const answering = await process.script.next();
  answering.say('All of it.');
  answering.give({ type: 'usage', inputTokens: 9_000, outputTokens: 5, modelId: 'nova' });
  await settle();
  await bench.clock.advance(CHECKPOINT_EVERY_MS + 1);
  await process.until('quota.raise');
  expect(await bench.quota()).toMatchObject({ usedInMonth: 3 * HELD });
  answering.end();
  await process.until('turns.finish');
  expect(await bench.quota()).toMatchObject({ usedInMonth: 9_005, holds: {} });
});

it('after turns of every outcome, what is used is the sum of the usage events', async () => {
  const bench = await openBench(storage);
  const process = bench.process();
  let ended = 0;
  for (const [outcome, tokens] of [
    ['completed', 100],
    ['failed', 30],
    ['cancelled', 7],
  ] as const) {
    const { assistantMessage } = await process.send(QUESTION);
    const answering = await process.script.next();
    answering.say('Part of it.');
    answering.give({ type: 'usage', inputTokens: tokens, outputTokens: 1, modelId: 'nova' });
    if (outcome === 'completed') answering.end();
    if (outcome === 'failed') answering.fail(new AppError('AGENT_UNAVAILABLE', 'It failed.'));
    if (outcome === 'cancelled') await passTime(bench.clock, process.request().turns.cancel(assistantMessage.id));
    await process.until('turns.finish', ++ended);
  }
  const events = await bench.usage();
  expect(events).toHaveLength(3);
  const sum = events.reduce(
    (total, event) => total + (event.kind === 'TURN' ? event.inputTokens + event.outputTokens : 0),
    0,
  );
  expect(sum).toBe(140);
  expect(await bench.quota()).toMatchObject({ usedInMonth: sum, holds: {} });
});
