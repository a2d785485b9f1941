import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ANSWER_CHARACTERS_MAX } from '../../src/conversations/generation.ts';
import { LEASE_MS } from '../../src/conversations/upkeep.ts';
import { messageId, type StreamEvent } from '../../src/conversations/model.ts';
import { AppError } from '../../src/kernel/errors.ts';
import { settle } from '../support/clock.ts';
import { collect } from '../support/collect.ts';
import { openEmbeddedStorage, type Storage } from '../support/dynamodb-storage.ts';
import { numbersOf, openBench, passTime } from '../support/turn-bench.ts';

let storage: Storage;
beforeAll(async () => {
  storage = await openEmbeddedStorage();
});
afterAll(() => storage.close());

/** A turn that is being answered. */
async function running(content?: string) {
  const bench = await openBench(storage);
  const process = bench.process();
  const sent = await process.send(content);
  const answering = await process.script.next();
  const [turn] = await turnsOf(bench);
  const stream = collect((await process.stores.streams.read(sent.assistantMessage.id, 0))!);
  const ended = () => process.generations.settled(turn!.id);
  return { bench, process, sent, answering, turn: turn!, stream, ended };
}

const turnsOf = async (bench: Awaited<ReturnType<typeof openBench>>) => {
  const row = await bench.turnRow();
  return row ? [row] : [];
};

describe('an answer', () => {
  it('during which the clock is put back took no time, not less than none', async () => {
    const { bench, answering, turn, ended } = await running();
    await bench.clock.skip(-3_600_000);
    answering.say('Within 30 days.');
    answering.end();
    await ended();
    expect(await bench.direct.usage.turn(turn.id)).toMatchObject({ latencyMs: 0, firstTextMs: 0 });
  });

  it('is streamed without gaps, stored, metered, and only then told to be over', async () => {
    const { bench, process, answering, stream, ended } = await running();
    expect(answering.question).toMatchObject({
      tenantId: bench.tenantId,
      userId: bench.conversation.ownerId,
      conversationId: bench.conversation.id,
      agentId: 'support',
      knowledgeBaseIds: ['KBONE'],
      text: 'What is the refund policy?',
    });
    answering.say('Within ');
    answering.give({ type: 'trace', traceId: null });
    answering.say('');
    answering.give({ type: 'citation', citation: { text: 'p', source: null, title: null } });
    answering.say('30 days.');
    answering.give({ type: 'usage', inputTokens: 120, outputTokens: 30, modelId: 'nova' });
    answering.end();
    await ended();
    const events = await stream;
    expect(numbersOf(events)).toEqual([1, 2, 3, 4]);
    expect(events.map(({ type }) => type)).toEqual(['DELTA', 'CITATION', 'DELTA', 'COMPLETED']);
    const stored = await bench.answerOf();
    expect(stored).toMatchObject({
      status: 'COMPLETED',
      content: 'Within 30 days.',
      lastEvent: 4,
      usage: { inputTokens: 120, outputTokens: 30, modelId: 'nova', estimated: false },
    });
    expect(events.at(-1)).toEqual({ sequence: 4, type: 'COMPLETED', message: stored });
    expect(await bench.usage()).toMatchObject([
      { kind: 'TURN', status: 'COMPLETED', attempts: 1, traces: 1, first: true },
    ]);
    expect(await bench.state()).toMatchObject({ lock: null });
    expect(await bench.due()).toEqual([]);
    const end = process.finished.lastIndexOf('streams.append');
    for (const step of ['messages.end', 'meter.recordTurn', 'conversations.unlock'])
      expect(process.finished.indexOf(step)).toBeLessThan(end);
    expect(process.generations.count()).toBe(0);
    expect(process.faults).toEqual([]);
  });

  it('whoever hears of its end can send the next message at once', async () => {
    const { process, sent, answering } = await running();
    const [reader] = [(await process.stores.streams.read(sent.assistantMessage.id, 0))!];
    answering.say('Done.');
    answering.end();
    for await (const event of reader) if (event.type === 'COMPLETED') break;
    await expect(process.send('Next')).resolves.toMatchObject({ assistantMessage: { sequence: 4 } });
  });

  it.each([
    [
      'an error meant for callers shows as it is',
      new AppError('AGENT_UNAVAILABLE', 'The agent is busy.', { retryable: true, retryAfterMs: 1_000 }),
      { code: 'AGENT_UNAVAILABLE', message: 'The agent is busy.', retryable: true, retryAfterMs: 1_000 },
    ],
    [
      'an error that says nothing of trying again is not to be tried again',
      new AppError('AGENT_UNAVAILABLE', 'No.'),
      { code: 'AGENT_UNAVAILABLE', retryable: false, retryAfterMs: null },
    ],
    ['any other error is masked', new TypeError('secret detail'), { code: 'INTERNAL', retryable: true }],
  ])('%s, and what was said is kept', async (_name, error, shown) => {
    const { bench, answering, stream, ended } = await running();
    answering.say('Some text');
    answering.fail(error);
    await ended();
    const stored = await bench.answerOf();
    expect(stored).toMatchObject({ status: 'FAILED', content: 'Some text', error: shown });
    expect(JSON.stringify(stored)).not.toContain('secret detail');
    expect((await stream).map(({ type }) => type)).toEqual(['DELTA', 'FAILED']);
    expect(await bench.usage()).toMatchObject([{ status: 'FAILED', errorCode: shown.code }]);
  });

  it('without any text is AGENT_UNAVAILABLE, and may be tried again', async () => {
    const { bench, answering, ended } = await running();
    answering.give({ type: 'trace', traceId: null });
    answering.end();
    await ended();
    expect(await bench.answerOf()).toMatchObject({
      status: 'FAILED',
      error: { code: 'AGENT_UNAVAILABLE', retryable: true },
    });
  });

  it('that breaks isolation is withheld whole, also from readers who come later', async () => {
    const { bench, process, sent, answering, stream, ended } = await running();
    answering.say('SECRET');
    answering.give({ type: 'citation', citation: { text: 'SECRET', source: null, title: null } });
    answering.fail(new AppError('ISOLATION_VIOLATION', 'Withheld.', { retryable: false }));
    await ended();
    expect((await stream).at(-1)).toMatchObject({ type: 'FAILED', sequence: 3 });
    const stored = await bench.answerOf();
    expect(stored).toMatchObject({
      status: 'FAILED',
      content: '',
      citations: [],
      error: { code: 'ISOLATION_VIOLATION' },
    });
    const late = await process.request().turns.watch(sent.assistantMessage.id, 0);
    expect(await collect(late)).toEqual([{ sequence: 3, type: 'FAILED', message: stored }]);
    expect(JSON.stringify(await storage.rowsOf(bench.tenantId))).not.toContain('SECRET');
  });

  it('that breaks isolation is withheld also when it is cancelled in the same moment', async () => {
    const { bench, process, answering, turn, ended } = await running();
    answering.say('SECRET');
    await settle();
    answering.fail(new AppError('ISOLATION_VIOLATION', 'Withheld.', { retryable: false }));
    process.generations.cancel(turn.id);
    await ended();
    const stored = await bench.answerOf();
    expect(stored).toMatchObject({ status: 'FAILED', content: '', error: { code: 'ISOLATION_VIOLATION' } });
  });

  it('over a million characters is cut off, stops the agent, and keeps what fits', async () => {
    const { bench, answering, ended } = await running();
    const piece = 'x'.repeat(ANSWER_CHARACTERS_MAX / 4);
    for (let n = 0; n < 6; n++) answering.say(piece);
    await ended();
    expect(answering.signal.aborted).toBe(true);
    const stored = await bench.answerOf();
    expect(stored).toMatchObject({ status: 'FAILED', error: { code: 'AGENT_UNAVAILABLE', retryable: false } });
    expect(stored!.content.length).toBeGreaterThanOrEqual(ANSWER_CHARACTERS_MAX);
    expect(stored!.content.length).toBeLessThanOrEqual(ANSWER_CHARACTERS_MAX + piece.length);
  });
});

describe('while it runs', () => {
  it('its lease is renewed every 20 s, so that no sweeper touches it however long it takes', async () => {
    const { bench, process, answering, ended } = await running();
    const other = bench.process();
    for (let renewal = 1; renewal <= 12; renewal++) {
      await bench.clock.advance(20_000);
      await process.until('turns.renew', renewal);
      expect((await bench.turnRow())?.leaseUntil).toBe(bench.clock.now() + LEASE_MS);
      expect(await other.sweeper.sweep()).toBe(0);
    }
    answering.say('At last.');
    answering.end();
    await ended();
    expect(await bench.answerOf()).toMatchObject({ status: 'COMPLETED', content: 'At last.' });
  });

  it('its text and usage are kept every 10 s', async () => {
    const { bench, process, sent, answering, ended } = await running();
    for (const [index, text] of ['One ', 'two ', 'three'].entries()) {
      answering.say(text);
      await settle();
      await bench.clock.advance(10_000);
      await process.until('messages.checkpoint', index + 1);
    }
    expect(await bench.direct.messages.draft(sent.assistantMessage.id)).toMatchObject({
      message: { content: 'One two three', status: 'STREAMING' },
      metering: { attempts: 1, latencyMs: 30_000, estimatedTokens: expect.any(Number) as number },
    });
    answering.end();
    await ended();
    expect(bench.clock.pending()).toBeLessThanOrEqual(1); // what keeps the stream for 15 minutes
  });

  it('a cancellation asked for on another instance is noticed at the next renewal, and the partial text kept', async () => {
    const { bench, process, answering, turn, stream, ended } = await running();
    answering.say('Partial');
    await bench.process().stores.turns.requestCancel(turn.key);
    await bench.clock.advance(20_000);
    await process.until('turns.renew');
    await ended();
    expect(answering.signal.aborted).toBe(true);
    expect(await bench.answerOf()).toMatchObject({ status: 'CANCELLED', content: 'Partial', error: null });
    expect((await stream).map(({ type }) => type)).toEqual(['DELTA', 'CANCELLED']);
    expect(await bench.usage()).toMatchObject([{ status: 'CANCELLED', errorCode: null }]);
    expect(process.faults).toEqual([]);
  });

  it('a cancellation here stops it at once, whatever the agent does', async () => {
    const { bench, process, answering, turn, ended } = await running();
    answering.say('Partial');
    process.generations.cancel('another turn');
    process.generations.cancel(turn.id);
    process.generations.cancel(turn.id);
    await ended();
    expect(await bench.answerOf()).toMatchObject({ status: 'CANCELLED' });
  });

  it('a turn that another process has taken over stops silently: it stores, meters and tells nothing', async () => {
    const { bench, process, answering, turn, stream, ended } = await running();
    answering.say('Mine');
    const brokenOff = expect(stream).rejects.toMatchObject({ code: 'INTERRUPTED', details: { retryable: true } });
    process.before('turns.renew', () => {
      throw new Error('out of reach');
    });
    await bench.clock.advance(LEASE_MS + 1);
    const other = bench.process();
    const claimed = await other.stores.turns.claim(turn.key, bench.clock.now(), bench.clock.now() + LEASE_MS);
    expect(claimed).not.toBeNull();
    process.before('turns.renew', null);
    await bench.clock.advance(20_000);
    await ended();
    await brokenOff;
    expect(answering.signal.aborted).toBe(true);
    for (const step of ['messages.end', 'meter.recordTurn', 'conversations.unlock', 'turns.finish'])
      expect(process.finished).not.toContain(step);
    expect(await bench.answerOf()).toMatchObject({ status: 'STREAMING' });
    expect((await bench.state())?.lock?.turnId).toBe(turn.id);
    expect(await bench.turnRow()).toMatchObject({ done: false, leaseUntil: claimed!.leaseUntil });
  });

  it('renewals and checkpoints that fail do not end it, as long as one gets through', async () => {
    const { bench, process, answering, ended } = await running();
    let failures = 0;
    for (const name of ['turns.renew', 'messages.checkpoint'])
      process.before(name, () => {
        if (failures++ < 4) throw new Error('out of reach');
      });
    await bench.clock.advance(40_000);
    await process.until('turns.renew');
    answering.say('Fine.');
    answering.end();
    await ended();
    expect(await bench.answerOf()).toMatchObject({ status: 'COMPLETED' });
    expect(process.faults.length).toBeGreaterThanOrEqual(4);
  });
});

describe('draining', () => {
  it('lets a turn finish that does so in time', async () => {
    const { bench, process, answering } = await running();
    const drained = process.generations.drain(10_000);
    await bench.clock.advance(9_000);
    answering.say('Just made it.');
    answering.end();
    await drained;
    expect(await bench.answerOf()).toMatchObject({ status: 'COMPLETED' });
  });

  it('ends one that does not as INTERRUPTED, stores what there is, and tells its readers', async () => {
    const { bench, process, answering, stream, ended } = await running();
    answering.say('Half an ans');
    const drained = process.generations.drain(10_000);
    await bench.clock.advance(10_000);
    await ended();
    await drained;
    expect(await bench.answerOf()).toMatchObject({
      status: 'FAILED',
      content: 'Half an ans',
      error: { code: 'INTERRUPTED', retryable: true },
    });
    expect((await stream).at(-1)).toMatchObject({ type: 'FAILED', sequence: 2 });
    expect(process.generations.count()).toBe(0);
    expect(await bench.due()).toEqual([]);
  });

  it('with nothing running is over at once, and a turn that is not here is settled', async () => {
    const process = (await openBench(storage)).process();
    await process.generations.drain(10_000);
    await process.generations.settled('nothing');
  });

  it('with a store that is gone ends after twice its time, and leaves the turn to the sweeper', async () => {
    const { bench, process, answering } = await running();
    answering.say('x');
    process.die();
    const drained = process.generations.drain(10_000);
    await bench.clock.advance(10_000);
    await bench.clock.advance(10_000);
    await drained;
    expect(await bench.due()).toHaveLength(1);
  });
});

it('what is sent twice at once with one key is one turn, however late its messages are stored', async () => {
  const bench = await openBench(storage);
  const process = bench.process();
  const stored = Promise.withResolvers<void>();
  process.before('messages.add', () => stored.promise);
  const first = process.send('Once', 'key');
  await process.until('turns.placed');
  const second = Promise.allSettled([process.send('Once', 'key')]);
  await process.until('turns.open', 2);
  for (let tick = 0; tick < 4; tick++) await bench.clock.advance(50);
  stored.resolve();
  const { assistantMessage } = await first;
  const [result] = ((await passTime(bench.clock, second)) as PromiseFulfilledResult<Awaited<typeof second>>).value;
  expect(result).toMatchObject({ status: 'fulfilled', value: { assistantMessage: { id: assistantMessage.id } } });
  expect(assistantMessage.id).toBe(messageId(bench.conversation.id, 2));
});

describe('text that is gathered', () => {
  async function gathering() {
    const bench = await openBench(storage);
    const process = bench.process({ coalesceMs: 40 });
    const { assistantMessage } = await process.send();
    const answering = await process.script.next();
    const stream = collect((await process.stores.streams.read(assistantMessage.id, 0))!);
    for (const piece of ['First', ' second', ' third']) answering.say(piece);
    await settle();
    return { bench, process, answering, stream };
  }
  const textOf = async (stream: Promise<readonly StreamEvent[]>) =>
    (await stream).map((event) => (event.type === 'DELTA' ? event.text : event.type));

  it('is all there when the answer ends, before the terminal event', async () => {
    const { bench, answering, stream } = await gathering();
    answering.end();
    expect(await textOf(stream)).toEqual(['First', ' second third', 'COMPLETED']);
    expect(await bench.answerOf()).toMatchObject({ content: 'First second third', lastEvent: 3 });
  });

  it('is all there when it fails', async () => {
    const { bench, answering, stream } = await gathering();
    answering.fail(new AppError('AGENT_UNAVAILABLE', 'It failed.', { retryable: true }));
    expect(await textOf(stream)).toEqual(['First', ' second third', 'FAILED']);
    expect((await bench.answerOf())?.content).toBe('First second third');
  });

  it('is never shown after a breach of isolation', async () => {
    const { bench, answering, stream } = await gathering();
    answering.fail(new AppError('ISOLATION_VIOLATION', 'Withheld.', { retryable: false }));
    expect((await textOf(stream)).join()).not.toContain('second');
    await bench.clock.advance(1_000);
    expect((await bench.answerOf())?.content).toBe('');
  });
});

it('a turn that runs on another instance is told to stop there, and one that is told so stops', async () => {
  const bench = await openBench(storage);
  const told: string[] = [];
  let tell: (turnId: string) => void = () => undefined;
  const process = bench.process({
    signals: { cancel: (turnId) => told.push(turnId), onCancel: (listener) => (tell = listener) },
  });
  process.generations.cancel('a turn elsewhere');
  expect(told).toEqual(['a turn elsewhere']);
  await process.send();
  await process.script.next();
  const turn = (await bench.turnRow())!;
  tell('another turn');
  tell(turn.id);
  await process.generations.settled(turn.id);
  expect((await bench.answerOf())?.status).toBe('CANCELLED');
  expect(told).toHaveLength(1);
});
