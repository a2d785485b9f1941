import { describe, expect, it } from 'vitest';
import { createStreamReader } from '../../src/adapters/redis/stream-reader.ts';
import type { StreamEvent } from '../../src/conversations/model.ts';
import { collect } from '../support/collect.ts';
import { settle } from '../support/clock.ts';
import { delta, deltas, numbersOf, terminal } from '../support/stream-events.ts';

/** A reader whose fetches are answered by hand. */
function opened(after = 0) {
  const fetches: { readonly place: number; answer(events: readonly StreamEvent[] | null): void; fail(): void }[] = [];
  let ends = 0;
  const reader = createStreamReader({
    after,
    fetch(place) {
      const { promise, resolve, reject } = Promise.withResolvers<readonly StreamEvent[] | null>();
      fetches.push({ place, answer: resolve, fail: () => reject(new Error('away')) });
      return promise;
    },
    onEnd: () => void ends++,
  });
  async function begun(events: readonly StreamEvent[] = []) {
    const begin = reader.begin();
    fetches[0]!.answer(events);
    expect(await begin).toBe(true);
  }
  return { reader, events: reader.events, fetches, begun, ends: () => ends };
}

describe('a reader of a stream in Redis', () => {
  it('that keeps up fetches nothing but the beginning', async () => {
    const { reader, events, fetches, begun } = opened();
    await begun(deltas(1, 2));
    const all = collect(events);
    for (const event of [...deltas(3, 50), terminal(51)]) {
      reader.hear([event]);
      await settle(1);
    }
    expect(numbersOf(await all)).toEqual(numbersOf(deltas(1, 51)));
    expect(fetches).toHaveLength(1);
  });

  it('misses nothing that is published while it fetches, and fetches nothing twice that came along', async () => {
    const { reader, events, fetches, begun } = opened();
    await begun();
    reader.look();
    const all = collect(events);
    await settle(1);
    reader.hear([delta(1)]);
    reader.hear([delta(2)]);
    fetches[1]!.answer([delta(1), delta(2)]);
    await settle(1);
    expect(fetches).toHaveLength(2);

    reader.look();
    await settle(1);
    reader.hear([delta(3)]);
    fetches[2]!.answer([]);
    await settle(1);
    expect(fetches.map(({ place }) => place)).toEqual([0, 0, 2, 2]);
    reader.hear([terminal(4)]);
    fetches[3]!.answer([delta(3)]);
    await settle(1);
    expect(fetches[4]?.place).toBe(3);
    fetches[4]!.answer([terminal(4)]);
    expect(numbersOf(await all)).toEqual([1, 2, 3, 4]);
  });

  it('that is slow holds a window, and fetches the rest when it gets there', async () => {
    const { reader, events, fetches, begun, ends } = opened();
    await begun();
    for (const event of [...deltas(1, 10_000), terminal(10_001)]) reader.hear([event]);
    expect(ends()).toBe(0);
    for (let sequence = 1; sequence <= 256; sequence++) expect((await events.next()).value).toMatchObject({ sequence });
    const next = events.next();
    expect(fetches.map(({ place }) => place)).toEqual([0, 256]);
    fetches[1]!.answer([delta(257), terminal(10_001)]);
    expect((await next).value).toMatchObject({ sequence: 257 });
    expect(numbersOf(await collect(events))).toEqual([10_001]);
    expect(ends()).toBe(1);
  });

  it('return() ends it at once, in the middle of a fetch too, and only once', async () => {
    const { reader, events, fetches, begun, ends } = opened();
    await begun();
    reader.look();
    const waiting = events.next();
    await settle(1);
    expect(fetches).toHaveLength(2);
    for (let time = 0; time < 2; time++) expect((await events.return!()).done).toBe(true);
    expect((await waiting).done).toBe(true);
    fetches[1]!.answer([delta(1)]);
    await settle(1);
    expect((await events.next()).done).toBe(true);
    expect(ends()).toBe(1);
  });

  it('shows what it has before it breaks off', async () => {
    const { reader, events, fetches, begun, ends } = opened();
    await begun([delta(1)]);
    reader.breakOff();
    expect((await events.next()).value).toEqual(delta(1));
    await expect(events.next()).rejects.toMatchObject({ code: 'INTERRUPTED' });
    expect(fetches).toHaveLength(1);
    expect(ends()).toBe(1);
  });

  it('shows nothing of a fetch that was under way when the stream was withheld', async () => {
    const { reader, events, fetches, begun } = opened();
    await begun();
    reader.look();
    const all = collect(events);
    await settle(1);
    reader.withhold();
    fetches[1]!.answer(deltas(1, 3));
    await settle(1);
    reader.hear([terminal(4, 'FAILED')]);
    expect(numbersOf(await all)).toEqual([4]);
  });

  it('breaks off when a fetch fails, and does not begin where there is no stream', async () => {
    const failing = opened();
    await failing.begun();
    failing.reader.look();
    const waiting = failing.events.next();
    await settle(1);
    failing.fetches[1]!.fail();
    await expect(waiting).rejects.toMatchObject({ code: 'INTERRUPTED' });

    const absent = opened();
    const begin = absent.reader.begin();
    absent.fetches[0]!.answer(null);
    expect(await begin).toBe(false);
    expect(absent.ends()).toBe(1);
  });
});
