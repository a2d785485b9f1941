import { describe, expect, it } from 'vitest';
import { createStreamWriter } from '../../src/conversations/stream-writer.ts';
import type { StreamEvent } from '../../src/conversations/model.ts';
import { createTestClock, settle } from '../support/clock.ts';

const CITATION = { text: 'passage', source: null, title: null };

function open({ coalesceMs = 40, append = () => Promise.resolve() } = {}) {
  const clock = createTestClock();
  const events: StreamEvent[] = [];
  const streams = {
    async append(_id: string, event: StreamEvent) {
      await append();
      events.push(event);
    },
  };
  const writer = createStreamWriter({ streams, messageId: 'the answer', clock, coalesceMs });
  const texts = () => events.map((event) => (event.type === 'DELTA' ? event.text : event.type));
  return { clock, events, writer, texts };
}

describe('the text of an answer', () => {
  it('is written at once when it comes first, or after a pause', async () => {
    const { clock, writer, texts } = open();
    await writer.text('First');
    expect(texts()).toEqual(['First']);
    await clock.advance(40);
    await writer.text(' after a pause');
    expect(texts()).toEqual(['First', ' after a pause']);
  });

  it('is gathered for 40 ms in between, and written together', async () => {
    const { clock, writer, texts } = open();
    for (const piece of ['a', 'b', 'c', 'd']) await writer.text(piece);
    expect(texts()).toEqual(['a']);
    await clock.advance(39);
    expect(texts()).toEqual(['a']);
    await clock.advance(1);
    expect(texts()).toEqual(['a', 'bcd']);
    await writer.text('e'); // within 40 ms of what was written last
    expect(texts()).toEqual(['a', 'bcd']);
    await clock.advance(40);
    expect(texts()).toEqual(['a', 'bcd', 'e']);
  });

  it('is held no longer when the clock is put back', async () => {
    const { clock, writer, texts } = open();
    await writer.text('a');
    await clock.skip(-3_600_000);
    await writer.text('b');
    await clock.advance(40);
    expect(texts()).toEqual(['a', 'b']);
  });

  it('of 800 tokens, one every 5 ms, is at most one event every 40 ms, complete, in order and without gaps', async () => {
    const { clock, writer, events, texts } = open();
    const pieces = Array.from({ length: 800 }, (_, n) => `${n} `);
    for (const piece of pieces) {
      await writer.text(piece);
      await clock.advance(5);
    }
    await writer.flush();
    expect(events.length).toBeLessThanOrEqual((800 * 5) / 40 + 1);
    expect(texts().join('')).toBe(pieces.join(''));
    expect(events.map(({ sequence }) => sequence)).toEqual(events.map((_, n) => n + 1));
    expect(writer.count()).toBe(events.length);
  });

  it('is written before a citation that follows it, and before the end', async () => {
    const { clock, writer, texts } = open();
    await writer.text('a');
    await writer.text('b');
    await writer.citation(CITATION);
    await writer.text('c');
    await writer.flush();
    expect(texts()).toEqual(['a', 'b', 'CITATION', 'c']);
    await clock.advance(1_000);
    expect([texts().length, clock.pending()]).toEqual([4, 0]);
  });

  it('that is discarded is never written', async () => {
    const { clock, writer, texts } = open();
    await writer.text('a');
    await writer.text('secret');
    writer.discard();
    await clock.advance(1_000);
    await writer.flush();
    expect(texts()).toEqual(['a']);
    expect(writer.count()).toBe(1);
  });

  it('is written in order, however slowly the stream takes it', async () => {
    const waiting: (() => void)[] = [];
    const { clock, writer, texts } = open({ append: () => new Promise((resolve) => waiting.push(resolve)) });
    void writer.text('a');
    await settle();
    void writer.text('b');
    await clock.advance(40);
    const ended = writer.citation(CITATION);
    for (let n = 0; n < 3; n++) {
      await settle();
      waiting.shift()!();
    }
    await ended;
    expect(texts()).toEqual(['a', 'b', 'CITATION']);
  });

  it('is never gathered where that is turned off', async () => {
    const { writer, texts } = open({ coalesceMs: 0 });
    for (const piece of ['a', 'b', 'c']) await writer.text(piece);
    expect(texts()).toEqual(['a', 'b', 'c']);
  });
});
