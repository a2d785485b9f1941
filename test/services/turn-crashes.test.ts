import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { LEASE_MS } from '../../src/conversations/upkeep.ts';
import type { Message } from '../../src/conversations/model.ts';
import { settle } from '../support/clock.ts';
import { collect } from '../support/collect.ts';
import { openEmbeddedStorage, type Storage } from '../support/dynamodb-storage.ts';
import { openBench, passTime, type Bench, type Process } from '../support/turn-bench.ts';

let storage: Storage;
beforeAll(async () => {
  storage = await openEmbeddedStorage();
});
afterAll(() => storage.close());

const KEY = 'the key';
const QUESTION = 'What is the refund policy?';
const never = () => new Promise<never>(() => undefined);
const isAnswer = (message: Message) => message.role === 'ASSISTANT';

/** A send that dies at some point of its life. The promise of the send itself never comes back. */
type Crash = (process: Process, bench: Bench) => Promise<void>;

const dyingAfter =
  (step: string, before: Crash = () => Promise.resolve()): Crash =>
  async (process, bench) => {
    const dead = process.dieAfter(step);
    void process.send(QUESTION, KEY);
    await before(process, bench);
    await dead;
  };

const answered: Crash = async (process) => {
  const answering = await process.script.next();
  answering.say('All of it.');
  answering.give({ type: 'usage', inputTokens: 100, outputTokens: 10, modelId: 'nova' });
  answering.end();
};

/** What a crash leaves behind once it is repaired: the answer's row, and the tokens of its one usage event. */
const CRASHES: readonly {
  readonly name: string;
  readonly crash: Crash;
  readonly answer: { readonly status: string; readonly content: string };
  readonly tokens: number;
}[] = [
  { name: 'the lock', crash: dyingAfter('conversations.lock'), answer: { status: 'FAILED', content: '' }, tokens: 0 },
  {
    name: 'the user’s message',
    crash: async (process) => {
      process.before('messages.add', (message) => (isAnswer(message) ? never() : undefined));
      process.before('turns.placed', never);
      void process.send(QUESTION, KEY);
      await process.until('messages.add');
      process.die();
    },
    answer: { status: 'FAILED', content: '' },
    tokens: 0,
  },
  {
    name: 'the placeholder alone',
    crash: async (process) => {
      process.before('messages.add', (message) => (isAnswer(message) ? undefined : never()));
      void process.send(QUESTION, KEY);
      await process.until('messages.add');
      await process.until('turns.placed');
      process.die();
    },
    answer: { status: 'FAILED', content: '' },
    tokens: 0,
  },
  {
    name: 'both messages, their place not noted',
    crash: async (process) => {
      process.before('turns.placed', never);
      void process.send(QUESTION, KEY);
      await process.until('messages.add', 2);
      process.die();
    },
    answer: { status: 'FAILED', content: '' },
    tokens: 0,
  },
  {
    name: 'the beginning of the stream, before any checkpoint',
    crash: async (process) => {
      void process.send(QUESTION, KEY);
      const answering = await process.script.next();
      answering.say('Never stored');
      await settle();
      process.die();
    },
    answer: { status: 'FAILED', content: '' },
    tokens: 0,
  },
  {
    name: 'the beginning of the first model call, which is stored at once',
    crash: async (process) => {
      void process.send(QUESTION, KEY);
      const answering = await process.script.next();
      answering.give({ type: 'step', inputCharacters: 400, modelId: 'nova' });
      await process.until('messages.checkpoint');
      process.die();
    },
    answer: { status: 'FAILED', content: '' },
    tokens: 100,
  },
  {
    name: 'a checkpoint',
    crash: async (process, { clock }) => {
      void process.send(QUESTION, KEY);
      const answering = await process.script.next();
      answering.say('So far');
      answering.give({ type: 'usage', inputTokens: 70, outputTokens: 7, modelId: 'nova' });
      await settle();
      await clock.advance(10_000);
      await process.until('messages.checkpoint');
      answering.say(' and no further');
      await settle();
      process.die();
    },
    answer: { status: 'FAILED', content: 'So far' },
    tokens: 77,
  },
  ...['messages.end', 'meter.recordTurn', 'quota.settle', 'conversations.unlock'].map((step) => ({
    name: step,
    crash: dyingAfter(step, answered),
    answer: { status: 'COMPLETED', content: 'All of it.' },
    tokens: 110,
  })),
];

describe.each(CRASHES)('after a crash behind $name', ({ crash, answer, tokens }) => {
  async function crashed() {
    const bench = await openBench(storage);
    await crash(bench.process(), bench);
    return bench;
  }

  it('nothing is touched before the lease has run out', async () => {
    const bench = await crashed();
    await bench.clock.advance(LEASE_MS / 2);
    expect(await bench.process().sweeper.sweep()).toBe(0);
    expect(await bench.due()).toHaveLength(1);
  });

  it('two racing sweepers repair it: both messages, one usage event, one terminal event, no lock, nothing due', async () => {
    const bench = await crashed();
    await bench.clock.advance(LEASE_MS + 1);
    const [one, other] = [bench.process(), bench.process()];
    const repaired = await Promise.all([one.sweeper.sweep(), other.sweeper.sweep()]);
    expect(repaired.toSorted()).toEqual([0, 1]);
    expect([...one.sweepFaults, ...other.sweepFaults]).toEqual([]);

    const messages = await bench.messages();
    expect(messages).toMatchObject([
      { sequence: 1, role: 'USER', status: 'COMPLETED', content: QUESTION },
      { sequence: 2, role: 'ASSISTANT', ...answer },
    ]);
    const interrupted = { code: 'INTERRUPTED', retryable: true };
    if (answer.status === 'FAILED') expect(messages[1]?.error).toMatchObject(interrupted);
    else expect(messages[1]?.error).toBeNull();
    expect(messages[1]?.completedAt).not.toBeNull();

    const usage = await bench.usage();
    expect(usage).toMatchObject([{ kind: 'TURN', status: answer.status, first: true }]);
    expect(usage[0]).toMatchObject({ userId: bench.conversation.ownerId, agentId: 'support' });
    const used = usage.map((event) => (event.kind === 'TURN' ? event.inputTokens + event.outputTokens : NaN));
    expect(used).toEqual([tokens]);
    expect(await bench.quota()).toMatchObject({ usedInMonth: tokens, holds: {} });

    expect((await bench.state())?.conversation.messageCount).toBe(2);
    expect((await bench.state())?.lock).toBeNull();
    expect(await bench.due()).toEqual([]);
    expect(await bench.turnRow()).toMatchObject({ done: true, content: null });

    const events = await collect(await one.request().turns.watch(messages[1]!.id, 0));
    expect(events).toEqual([{ sequence: messages[1]!.lastEvent, type: answer.status, message: messages[1] }]);
  });

  it('the repair that dies half-way is repaired in turn, with the same result', async () => {
    const bench = await crashed();
    for (const step of ['messages.add', 'messages.end', 'meter.recordTurn', 'conversations.unlock']) {
      await bench.clock.advance(LEASE_MS + 1);
      const dying = bench.process();
      const dead = dying.dieAfter(step);
      void dying.sweeper.sweep();
      await dead;
    }
    await bench.clock.advance(LEASE_MS + 1);
    expect(await bench.process().sweeper.sweep()).toBe(1);
    expect(await bench.messages()).toMatchObject([{ role: 'USER' }, answer]);
    expect(await bench.usage()).toHaveLength(1);
    expect(await bench.due()).toEqual([]);
    expect((await bench.state())?.lock).toBeNull();
  });

  it('the same key attaches to that turn, and the next message goes on with the next number', async () => {
    const bench = await crashed();
    await bench.clock.advance(LEASE_MS + 1);
    const process = bench.process();
    await process.sweeper.sweep();
    expect(await passTime(bench.clock, process.send(QUESTION, KEY))).toMatchObject({
      value: { assistantMessage: { sequence: 2, ...answer } },
    });
    expect((await process.send('Next')).userMessage).toMatchObject({ sequence: 3 });
    expect((await bench.messages()).map(({ sequence }) => sequence)).toEqual([1, 2, 3, 4]);
  });
});

describe('after a crash behind the turn row alone', () => {
  async function crashed() {
    const bench = await openBench(storage);
    await dyingAfter('turns.open')(bench.process(), bench);
    await bench.clock.advance(LEASE_MS + 1);
    return bench;
  }

  it('the sweeper leaves no message, no usage, no lock and nothing due', async () => {
    const bench = await crashed();
    expect(await bench.process().sweeper.sweep()).toBe(1);
    expect(await bench.messages()).toEqual([]);
    expect(await bench.usage()).toEqual([]);
    expect(await bench.due()).toEqual([]);
    expect((await bench.state())?.conversation.messageCount).toBe(0);
  });

  it('its key is not poisoned: the client that tries again is served', async () => {
    const bench = await crashed();
    const process = bench.process();
    await process.sweeper.sweep();
    expect(await passTime(bench.clock, process.send(QUESTION, KEY))).toMatchObject({
      status: 'fulfilled',
      value: { userMessage: { content: QUESTION } },
    });
  });

  it('a repeated send that is waiting for its messages is served when the sweeper has closed it', async () => {
    const bench = await crashed();
    const process = bench.process();
    const repeated = process.send(QUESTION, KEY);
    await process.until('turns.open');
    await process.sweeper.sweep();
    expect(await passTime(bench.clock, repeated)).toMatchObject({
      status: 'fulfilled',
      value: { userMessage: { sequence: 1, content: QUESTION } },
    });
  });

  it('a process that was taken for dead and then goes on leaves no answer streaming for ever', async () => {
    const bench = await openBench(storage);
    const slow = bench.process();
    const gate = Promise.withResolvers<void>();
    slow.before('conversations.lock', () => gate.promise);
    const sent = Promise.allSettled([slow.send(QUESTION, KEY)]);
    await slow.until('turns.open');
    await bench.clock.advance(LEASE_MS + 1);
    await bench.process().sweeper.sweep();
    gate.resolve();
    await sent;
    // The agent takes its time: the slow process notices at its renewal that the turn is not its own any more.
    for (let minute = 0; minute < 3; minute++) {
      await bench.clock.advance(20_000);
      await slow.until('turns.renew', Math.min(1, slow.generations.count()));
      await bench.clock.advance(LEASE_MS);
      await bench.process().sweeper.sweep();
    }
    for (const { status } of await bench.messages()) expect(status).not.toBe('STREAMING');
  });
});

it('a process that was taken for dead takes back no numbers that its repair is just using', async () => {
  const bench = await openBench(storage);
  const slow = bench.process();
  const [tokens, repairing] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  slow.before('quota.reserve', () => tokens.promise);
  const sent = Promise.allSettled([slow.send(QUESTION, KEY)]);
  await slow.until('conversations.lock');
  await bench.clock.advance(LEASE_MS + 1);
  const other = bench.process();
  other.before('messages.add', () => repairing.promise);
  const sweeping = other.sweeper.sweep();
  await other.until('conversations.state');
  tokens.resolve();
  await sent;
  repairing.resolve();
  await sweeping;
  const next = await passTime(bench.clock, other.send('And now?'));
  expect(next).toMatchObject({ status: 'fulfilled', value: { userMessage: { sequence: 3 } } });
  const [, , stored] = await bench.messages();
  expect(stored).toMatchObject({ content: 'And now?' });
});

it('a crash behind the last write leaves nothing to repair', async () => {
  const bench = await openBench(storage);
  await dyingAfter('turns.finish', answered)(bench.process(), bench);
  await bench.clock.advance(LEASE_MS + 1);
  expect(await bench.process().sweeper.sweep()).toBe(0);
  expect(await bench.messages()).toMatchObject([{ role: 'USER' }, { status: 'COMPLETED' }]);
  expect(await bench.usage()).toHaveLength(1);
});
