import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { StreamEvent } from '../../src/conversations/model.ts';
import type { ConversationStores } from '../../src/conversations/ports.ts';
import { followAnswer } from '../../src/conversations/watching.ts';
import { parseTenantId } from '../../src/tenancy/tenant-id.ts';
import { createTestClock } from '../support/clock.ts';
import { collect } from '../support/collect.ts';
import { aConversation, answerIdOf } from '../support/conversation-rows.ts';
import { HAS_REDIS_SERVER, startRedisProcess, type RedisProcess } from '../support/redis-process.ts';
import { openInstallation, type Installation, type Instance } from '../support/redis.ts';
import { delta, deltas, numbersOf, terminal } from '../support/stream-events.ts';

const acme = parseTenantId('acme')!;
const NAME = HAS_REDIS_SERVER ? 'an outage of Redis' : 'an outage of Redis (SKIPPED: there is no redis-server)';

describe.skipIf(!HAS_REDIS_SERVER)(NAME, () => {
  let server: RedisProcess;
  let installation: Installation;
  let [writer, reader]: Instance[] = [];

  beforeEach(async () => {
    server = await startRedisProcess();
    installation = openInstallation(server.url);
    writer = await installation.connect();
    reader = await installation.connect();
  });
  afterEach(async () => {
    await installation.close();
    await server.kill();
  });

  const logs = () => [writer!.streamLogs.forTenant(acme), reader!.streamLogs.forTenant(acme)] as const;

  async function openStream() {
    const [written, remote] = logs();
    const id = answerIdOf(aConversation(acme));
    await written.open(id);
    return { written, remote, id };
  }

  const bothKnow = (state: 'up' | 'down') => Promise.all([writer!.until(state), reader!.until(state)]);

  /** Reads until the stream ends or breaks off. */
  async function readOn(events: AsyncIterable<StreamEvent>) {
    const read: StreamEvent[] = [];
    try {
      for await (const event of events) read.push(event);
      return { read, error: null };
    } catch (error) {
      return { read, error };
    }
  }

  it('in the middle of a stream: its own readers see all of it, others break off, and resume once Redis is back, empty', async () => {
    const { written, remote, id } = await openStream();
    const local = collect((await written.read(id, 0))!);
    for (const event of deltas(1, 20)) await written.append(id, event);
    const broken = readOn((await remote.read(id, 0))!);
    for (const event of deltas(21, 40)) await written.append(id, event);
    await writer!.streamLogs.settled();

    await server.kill();
    for (const event of deltas(41, 60)) await written.append(id, event);
    const { read, error } = await broken;
    expect(error).toMatchObject({ code: 'INTERRUPTED', details: { retryable: true } });
    expect(numbersOf(read)).toEqual(numbersOf(deltas(1, read.length)));
    await bothKnow('down');
    expect(await remote.read(id, 0)).toBeNull();
    expect(await remote.progress(id)).toBeNull();
    expect(await written.progress(id)).toMatchObject({ lastEvent: 60 });

    await server.restart();
    await bothKnow('up');
    await writer!.streamLogs.settled();
    const resumed = readOn((await remote.read(id, read.length))!);
    for (const event of [...deltas(61, 80), terminal(81)]) await written.append(id, event);
    const all = [...read, ...(await resumed).read];
    expect(all).toEqual([...deltas(1, 80), terminal(81)]);
    expect(await local).toEqual(all);
    expect(await remote.progress(id)).toMatchObject({ lastEvent: 81 });
  });

  it('a stream that ended during it, and one that began, are there afterwards', async () => {
    const { written, remote, id } = await openStream();
    await written.append(id, delta(1));
    await server.kill();
    await bothKnow('down');
    await written.append(id, terminal(2));
    const later = answerIdOf(aConversation(acme));
    await written.open(later);
    await written.append(later, delta(1));
    await server.restart();
    await bothKnow('up');
    await writer!.streamLogs.settled();
    expect(await collect((await remote.read(id, 0))!)).toEqual([delta(1), terminal(2)]);
    expect(await remote.progress(later)).toMatchObject({ text: '1 ', lastEvent: 1 });
  });

  it('what was withheld comes back withheld, with its number', async () => {
    const { written, remote, id } = await openStream();
    for (const event of deltas(1, 3)) await written.append(id, event);
    await written.withhold(id);
    await server.kill();
    await bothKnow('down');
    await server.restart();
    await bothKnow('up');
    await writer!.streamLogs.settled();
    expect(await remote.progress(id)).toMatchObject({ text: '', lastEvent: 3 });
    await written.append(id, terminal(4, 'FAILED'));
    expect(numbersOf(await collect((await remote.read(id, 0))!))).toEqual([4]);
  });

  it('the end of a dead process’s stream is told when Redis is back with its data', async () => {
    const { written, remote, id } = await openStream();
    await written.append(id, delta(1));
    await writer!.streamLogs.settled();
    server.suspend();
    expect(await remote.progress(id)).toBeNull();
    await reader!.until('down');
    await remote.append(id, terminal(2, 'FAILED'));
    server.resume();
    await reader!.until('up');
    expect(numbersOf(await collect((await remote.read(id, 0))!))).toEqual([1, 2]);
  });

  it('an answer that ended during it, whose process is gone before it is over, ends for its readers all the same', async () => {
    const { written, remote, id } = await openStream();
    await written.append(id, delta(1));
    await writer!.streamLogs.settled();
    const end = terminal(2);
    if (!('message' in end)) throw new Error('no end');
    server.suspend();
    await bothKnow('down');
    await written.append(id, end);
    await writer!.close();
    server.resume();
    await reader!.until('up');

    const clock = createTestClock();
    const messages = { getMany: () => Promise.resolve([{ ...end.message, id }]) };
    const stores = { streams: remote, messages } as unknown as ConversationStores;
    const read = collect(await followAnswer({ stores, clock }, { ...end.message, id }, 0));
    let ended = false;
    void read.then(() => (ended = true));
    for (let seconds = 0; seconds < 60 && !ended; seconds++) await clock.advance(1_000);
    expect(ended).toBe(true);
    expect(numbersOf(await read)).toEqual([1, 2]);
  });

  it('limits are shared out, every place is given, and both are as before afterwards', async () => {
    const [one, other] = [writer!, reader!];
    expect(await one.slots.take(acme, 'held', 1)).toBe(true);
    expect(await other.slots.take(acme, 'more', 1)).toBe(false);
    const told = new Promise((resolve) => other.slots.onFreed(resolve));
    await server.kill();
    await bothKnow('down');
    expect(await told).toBe(acme);
    expect(await other.slots.take(acme, 'more', 1)).toBe(true);
    const allowed = async (instance: Instance) => {
      const verdicts = await Promise.all(
        Array.from({ length: 20 }, () =>
          instance.limiter.take({ tenantId: acme, meter: 'requests', lane: 'callers' }, 5),
        ),
      );
      return verdicts.filter((verdict) => verdict.allowed).length;
    };
    const shares = [await allowed(one), await allowed(other)];
    expect(shares).toEqual([3, 3]); // each was told when the other came

    await server.restart();
    await bothKnow('up');
    expect((await allowed(one)) + (await allowed(other))).toBe(5);
    expect(await one.slots.take(acme, 'third', 2)).toBe(false); // both that run are registered again
    expect(await other.slots.take(acme, 'third', 3)).toBe(true);
  });

  it('a Redis that answers nothing is noticed, and holds up no word of a turn', async () => {
    const { written, id } = await openStream();
    const local = collect((await written.read(id, 0))!);
    server.suspend();
    for (const event of deltas(1, 500)) await written.append(id, event);
    expect(writer!.ready()).toBe(true); // all of that before anybody could know
    await written.append(id, terminal(501));
    expect(numbersOf(await local)).toEqual(numbersOf(deltas(1, 501)));
    await writer!.until('down');
    server.resume();
    await writer!.until('up');
    await writer!.streamLogs.settled();
    expect(await installation.raw.keys(`${installation.prefix}#T#*#ST#*`)).toHaveLength(1);
  });

  it('a process starts and runs without Redis, and says once that it is away, and once that it is back', async () => {
    await server.kill();
    const alone = installation.start();
    await alone.until('down');
    const log = alone.streamLogs.forTenant(acme);
    const id = answerIdOf(aConversation(acme));
    await log.open(id);
    await log.append(id, terminal(1));
    expect(numbersOf(await collect((await log.read(id, 0))!))).toEqual([1]);
    expect(await alone.slots.take(acme, 'turn', 0)).toBe(true);
    await alone.slots.release(acme, 'turn');
    expect(await alone.limiter.take({ tenantId: acme, meter: 'requests', lane: 'callers' }, 60)).toMatchObject({
      allowed: true,
      remaining: 59,
    });
    await server.restart();
    await alone.until('up');
    expect(alone.states).toEqual(['down', 'up']);
    expect(alone.ready()).toBe(true);
  });

  it('a burst is sent in few commands', async () => {
    const { written, remote, id } = await openStream();
    const scripts = async () =>
      [...(await installation.raw.info('commandstats')).matchAll(/cmdstat_eval(?:sha)?:calls=(\d+)/g)]
        .map(([, calls]) => Number(calls))
        .reduce((sum, calls) => sum + calls, 0);
    const before = await scripts();
    for (const event of deltas(1, 2_000)) await written.append(id, event);
    await writer!.streamLogs.settled();
    expect((await scripts()) - before).toBeLessThan(20);
    expect(await remote.progress(id)).toMatchObject({ lastEvent: 2_000 });
  });
});
