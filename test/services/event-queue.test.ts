import { describe, expect, it } from 'vitest';
import { createEventQueue } from '../../src/kernel/event-queue.ts';
import { collect } from '../support/collect.ts';

const DONE = { value: undefined, done: true };

function queue() {
  let ends = 0;
  const values = createEventQueue<number>({ onEnd: () => ends++ });
  return { values, ends: () => ends };
}

describe('an event queue', () => {
  it('gives what was pushed, in order, before and after readers came', async () => {
    const { values, ends } = queue();
    values.push(1);
    values.push(2);
    const all = collect(values);
    values.push(3);
    values.end();
    expect(await all).toEqual([1, 2, 3]);
    expect(ends()).toBe(1);
  });

  it('several waiting readers get one value each, in order, and all hear of the end', async () => {
    const { values } = queue();
    const waiting = [values.next(), values.next(), values.next(), values.next()];
    values.push(1);
    values.push(2);
    values.end();
    expect(await Promise.all(waiting)).toEqual([{ value: 1, done: false }, { value: 2, done: false }, DONE, DONE]);
  });

  it('what is queued at the end is still read; what is pushed after it is not', async () => {
    const { values, ends } = queue();
    values.push(1);
    values.end();
    values.push(2);
    expect(ends()).toBe(0);
    expect(await collect(values)).toEqual([1]);
    expect(await values.next()).toEqual(DONE);
    expect(ends()).toBe(1);
  });

  it('return() takes effect at once: waiting readers end, what is queued is dropped, onEnd runs once', async () => {
    const { values, ends } = queue();
    const waiting = [values.next(), values.next()];
    expect(await values.return!()).toEqual(DONE);
    expect(await Promise.all(waiting)).toEqual([DONE, DONE]);
    values.push(1);
    values.end();
    values.fail(new Error('late'));
    expect(await values.next()).toEqual(DONE);
    await values.return!();
    expect(ends()).toBe(1);

    const filled = queue();
    filled.values.push(1);
    await filled.values.return!();
    expect(await filled.values.next()).toEqual(DONE);
  });

  it('leaving a loop ends it', async () => {
    const { values, ends } = queue();
    values.push(1);
    values.push(2);
    for await (const value of values) if (value === 1) break;
    expect(ends()).toBe(1);
    expect(await values.next()).toEqual(DONE);
  });

  it('a failure is met once, after what is queued, and then it is over', async () => {
    const { values, ends } = queue();
    values.push(1);
    values.fail(new Error('broken'));
    values.fail(new Error('again'));
    expect(await values.next()).toEqual({ value: 1, done: false });
    await expect(values.next()).rejects.toThrow('broken');
    expect(await values.next()).toEqual(DONE);
    expect(ends()).toBe(1);
  });

  it('a failure is met by a reader that waits, and then it is over', async () => {
    const { values, ends } = queue();
    const waiting = Promise.allSettled([values.next()]);
    values.fail('not even an error');
    expect(await waiting).toMatchObject([{ status: 'rejected' }]);
    expect(await values.next()).toEqual(DONE);
    expect(ends()).toBe(1);
  });

  it('a reader that has left meets no failure', async () => {
    const { values } = queue();
    values.fail(new Error('broken'));
    await values.return!();
    expect(await values.next()).toEqual(DONE);
  });
});
