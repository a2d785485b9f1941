import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { LEASE_MS, RENEW_EVERY_MS } from '../../src/conversations/upkeep.ts';
import { settle } from '../support/clock.ts';
import { collect } from '../support/collect.ts';
import { aConversation } from '../support/conversation-rows.ts';
import { openEmbeddedStorage, type Storage } from '../support/dynamodb-storage.ts';
import { numbersOf, openBench, passTime, type ProcessOptions } from '../support/turn-bench.ts';

let storage: Storage;
beforeAll(async () => {
  storage = await openEmbeddedStorage();
});
afterAll(() => storage.close());

/** A process whose one place is taken by a turn of another conversation. */
async function busy(options: ProcessOptions = {}) {
  const bench = await openBench(storage);
  const process = bench.process({ runningMax: 1, ...options });
  const other = { ...aConversation(bench.tenantId), ownerId: bench.conversation.ownerId };
  await bench.direct.conversations.create(other);
  const first = await process.request().turns.send({ conversationId: other.id, content: 'First.' });
  const running = await process.script.next();
  return { bench, process, first, running, other };
}

describe('a turn that has to wait', () => {
  it('is stored, says its place to its readers, and runs when there is room: one gapless stream', async () => {
    const { bench, process, running } = await busy();
    const { assistantMessage } = await process.send('Second.');
    const stream = collect((await process.stores.streams.read(assistantMessage.id, 0))!);
    await settle();
    expect((await bench.answerOf())?.status).toBe('STREAMING');
    running.end();
    const answering = await process.script.next();
    answering.say('Here.');
    answering.end();
    const events = await stream;
    expect(events.map(({ type }) => type)).toEqual(['QUEUED', 'DELTA', 'COMPLETED']);
    expect(events[0]).toMatchObject({ sequence: 1, position: 1 });
    expect(numbersOf(events)).toEqual([1, 2, 3]);
    expect(await bench.answerOf()).toMatchObject({ status: 'COMPLETED', lastEvent: 3, content: 'Here.' });
  });

  it('keeps its lease, and nobody repairs it', async () => {
    const { bench, process } = await busy();
    await process.send('Second.');
    for (let renewals = 1; renewals <= 5; renewals++) {
      await bench.clock.advance(RENEW_EVERY_MS);
      await process.until('turns.renew', 2 * renewals); // of both turns
    }
    expect(await bench.process().sweeper.sweep()).toBe(0);
    expect((await bench.answerOf())?.status).toBe('STREAMING');
  });

  it('can be cancelled, never asks the agent, and is no invocation', async () => {
    const { bench, process } = await busy();
    const { assistantMessage } = await process.send('Second.');
    await settle();
    const cancelled = await passTime(bench.clock, process.request().turns.cancel(assistantMessage.id));
    expect(cancelled).toMatchObject({ value: { status: 'CANCELLED', content: '' } });
    await process.until('turns.finish');
    expect(await bench.usage()).toMatchObject([{ status: 'CANCELLED', attempts: 0, inputTokens: 0, outputTokens: 0 }]);
    expect((await bench.state())?.lock).toBeNull();
  });

  it('too long FAILS with RATE_LIMITED and retryAfterMs, holds nothing, and the conversation is usable', async () => {
    const { bench, process } = await busy({ deadlineMs: 30_000 });
    await process.send('Second.');
    await settle();
    await bench.clock.advance(30_000);
    await process.until('turns.finish');
    const error = { code: 'RATE_LIMITED', retryable: true, retryAfterMs: expect.any(Number) as number };
    expect(await bench.answerOf()).toMatchObject({ status: 'FAILED', error });
    expect(await bench.state()).toMatchObject({ lock: null });
    expect(Object.values((await bench.quota()).holds)).toHaveLength(1); // of the turn that runs
  });

  it('whose process dies is repaired as INTERRUPTED, and costs nothing', async () => {
    const { bench, process } = await busy();
    await process.send('Second.');
    await settle();
    process.die();
    await bench.clock.advance(60_001);
    await bench.process().sweeper.sweep();
    expect(await bench.answerOf()).toMatchObject({ status: 'FAILED', error: { code: 'INTERRUPTED' } });
    const mine = (await bench.usage()).filter(
      (event) => event.kind === 'TURN' && event.conversationId === bench.conversation.id,
    );
    expect(mine).toMatchObject([{ attempts: 0, inputTokens: 0, outputTokens: 0, estimatedTokens: 0 }]);
  });

  it('ends as INTERRUPTED when the server stops', async () => {
    const { bench, process, running } = await busy();
    await process.send('Second.');
    await settle();
    await passTime(bench.clock, process.generations.drain(1_000));
    expect(await bench.answerOf()).toMatchObject({ status: 'FAILED', error: { code: 'INTERRUPTED' } });
    expect(running.signal.aborted).toBe(true);
  });
});

describe('when the queue is full', () => {
  const full = () => busy({ waitingMax: 0 });

  it('RATE_LIMITED with retryAfterMs before anything is stored; nothing is written at all', async () => {
    const { bench, process } = await full();
    const before = process.finished.length;
    await expect(process.send('Second.')).rejects.toMatchObject({
      code: 'RATE_LIMITED',
      details: { retryable: true, retryAfterMs: expect.any(Number) as number },
    });
    expect(process.finished.slice(before)).toEqual([]);
    expect(await bench.messages()).toEqual([]);
  });

  it('a repeat of a send that has its turn already is attached to it, and given its messages', async () => {
    const { process, other, running } = await full();
    running.end();
    await process.until('turns.finish');
    const input = { conversationId: other.id, content: 'With a key.', idempotencyKey: 'the key' };
    const first = await process.request().turns.send(input);
    await process.script.next(); // runs, and takes the one place
    const again = await process.request().turns.send(input);
    expect(again.assistantMessage.id).toBe(first.assistantMessage.id);
    await expect(process.request().turns.send({ ...input, content: 'Other.' })).rejects.toMatchObject({
      code: 'IDEMPOTENCY_CONFLICT',
    });
  });

  it('a key that is free again is refused for the queue, not for what it was once used for', async () => {
    const { bench, process } = await full();
    const dying = bench.process();
    const dead = dying.dieAfter('turns.open');
    void dying.send('First.', 'the key');
    await dead;
    await bench.clock.advance(LEASE_MS + 1);
    await bench.process().sweeper.sweep(); // closes the turn: it had come no further than its row
    await expect(process.send('Other.', 'the key')).rejects.toMatchObject({ code: 'RATE_LIMITED' });
  });

  it('a send that is refused for another reason gives its place back', async () => {
    const { process, other, running } = await busy({ waitingMax: 1 });
    for (let tries = 0; tries < 5; tries++) {
      const send = process.request().turns.send({ conversationId: other.id, content: 'Again.' });
      await expect(send).rejects.toMatchObject({ code: 'CONVERSATION_BUSY' });
    }
    await process.send('Has room.');
    running.end();
    (await process.script.next()).end();
  });
});

it('the place in the queue is free as soon as the agent has ended, however long the storing takes', async () => {
  const { process, running } = await busy();
  await process.send('Second.');
  process.before('messages.end', () => new Promise(() => undefined));
  running.say('Done.');
  running.end();
  await process.script.next(); // the second one runs
});

it('turns at their tenant’s concurrentGenerations queue, and each runs when one has ended', async () => {
  const bench = await openBench(storage);
  const process = bench.process({ concurrentGenerations: 2 });
  const conversations = Array.from({ length: 5 }, () => ({
    ...aConversation(bench.tenantId),
    ownerId: bench.conversation.ownerId,
  }));
  for (const conversation of conversations) await bench.direct.conversations.create(conversation);
  const send = ({ id }: { id: string }) => process.request().turns.send({ conversationId: id, content: 'Hello' });
  await Promise.all(conversations.map(send));
  let running = [await process.script.next(), await process.script.next()];
  for (let ended = 1; ended <= 5; ended++) {
    const asked = new Set(process.script.asked());
    expect(asked.size).toBe(Math.min(5, ended + 1));
    const [first, ...others] = running;
    first!.say('Done.');
    first!.end();
    await process.until('turns.finish', ended);
    running = ended <= 3 ? [...others, await process.script.next()] : others;
  }
});
