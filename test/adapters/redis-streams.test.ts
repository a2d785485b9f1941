import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseTenantId } from '../../src/tenancy/tenant-id.ts';
import { collect } from '../support/collect.ts';
import { createTestClock, settle } from '../support/clock.ts';
import { aConversation, answerIdOf } from '../support/conversation-rows.ts';
import { openInstallation, REDIS_NAME, REDIS_URL, type Installation, type Instance } from '../support/redis.ts';
import { delta, deltas, numbersOf, terminal } from '../support/stream-events.ts';

const acme = parseTenantId('acme')!;
const SECOND = 1_000;

describe.skipIf(!REDIS_URL)(`streams between instances on ${REDIS_NAME}`, () => {
  let installation: Installation;
  beforeEach(() => {
    installation = openInstallation(REDIS_URL!);
  });
  afterEach(() => installation.close());

  const logOf = ({ streamLogs }: Instance) => streamLogs.forTenant(acme);

  async function opened() {
    const clock = createTestClock();
    const [writer, other] = [await installation.connect({ clock }), await installation.connect({ clock })];
    const [written, remote] = [logOf(writer), logOf(other)];
    const id = answerIdOf(aConversation(acme));
    await written.open(id);
    const key = `${installation.prefix}#T#acme#ST#${id}`;
    const channel = key.replace('#ST#', '#LIVE#');
    return { clock, writer, other, written, remote, id, key, channel };
  }

  it('any number of readers of a stream listen once, and nobody listens when the last has left or read the end', async () => {
    const { other, written, remote, id, channel } = await opened();
    const listeners = async () => (await installation.raw.pubsub('NUMSUB', channel))[1];
    const readers = await Promise.all(Array.from({ length: 20 }, async () => (await remote.read(id, 0))!));
    expect(other.streamLogs.listening()).toBe(1);
    expect(await listeners()).toBe(1);
    for (const reader of readers.slice(1)) await reader.return!();
    await readers[1]!.return!();
    expect(other.streamLogs.listening()).toBe(1);
    const last = collect(readers[0]!);
    await written.append(id, terminal(1));
    expect(numbersOf(await last)).toEqual([1]);
    expect(other.streamLogs.listening()).toBe(0);
    await remote.read(id, 0); // asked on another connection, but after the subscription was left
    await expect.poll(listeners).toBe(0);
  });

  it('a reader of a stream that is not there listens to nothing', async () => {
    const { other, remote } = await opened();
    expect(await remote.read(answerIdOf(aConversation(acme)), 0)).toBeNull();
    expect(other.streamLogs.listening()).toBe(0);
  });

  it('a slow reader among fast ones loses nothing, however far it falls behind', async () => {
    const { writer, written, remote, id } = await opened();
    const slow = (await remote.read(id, 0))!;
    const fast = collect((await remote.read(id, 0))!);
    const events = [...deltas(1, 3_000), terminal(3_001)];
    for (const event of events) {
      await written.append(id, event);
      if (event.sequence % 100 === 0) await writer.streamLogs.settled();
    }
    expect(numbersOf(await fast)).toEqual(numbersOf(events));
    expect(numbersOf(await collect(slow))).toEqual(numbersOf(events));
  });

  it('what was stored but never published is found after 5 seconds', async () => {
    const { clock, remote, id, key } = await opened();
    const reader = (await remote.read(id, 0))!;
    const waiting = reader.next();
    await installation.raw.xadd(key, '1-1', 'event', JSON.stringify(delta(1)));
    await clock.advance(5 * SECOND);
    expect((await waiting).value).toEqual(delta(1));
  });

  it('what was published but not understood is looked up', async () => {
    const { remote, id, key, channel } = await opened();
    const waiting = (await remote.read(id, 0))!.next();
    await installation.raw.xadd(key, '1-1', 'event', JSON.stringify(delta(1)));
    await installation.raw.publish(channel, '[what is this');
    expect((await waiting).value).toEqual(delta(1));
  });

  it('a gap in what is published is filled', async () => {
    const { remote, id, key, channel } = await opened();
    const reader = (await remote.read(id, 0))!;
    const waiting = reader.next();
    for (const event of deltas(1, 3))
      await installation.raw.xadd(key, `1-${event.sequence}`, 'event', JSON.stringify(event));
    await installation.raw.publish(channel, JSON.stringify([delta(3)]));
    expect([(await waiting).value, (await reader.next()).value, (await reader.next()).value]).toEqual(deltas(1, 3));
  });

  it('a reader whose stream vanishes breaks off', async () => {
    const { clock, other, remote, id, key } = await opened();
    const waiting = (await remote.read(id, 0))!.next();
    const outcome = waiting.catch((error: unknown) => error);
    await installation.raw.del(key);
    await clock.advance(5 * SECOND);
    expect(await outcome).toMatchObject({ code: 'INTERRUPTED', details: { retryable: true } });
    expect(other.streamLogs.listening()).toBe(0);
  });

  it('a stream whose data was lost is copied whole again with the next word', async () => {
    const { writer, written, remote, id, key } = await opened();
    for (const event of deltas(1, 600)) await written.append(id, event);
    await writer.streamLogs.settled();
    await installation.raw.del(key);
    await written.append(id, delta(601));
    await written.append(id, terminal(602));
    expect(numbersOf(await collect((await remote.read(id, 0))!))).toEqual(numbersOf(deltas(1, 602)));
  });

  it('a Redis that fell back is brought up again from where it is', async () => {
    const { writer, written, remote, id, key } = await opened();
    for (const event of deltas(1, 5)) await written.append(id, event);
    await writer.streamLogs.settled();
    await installation.raw.del(key);
    await installation.raw.xadd(key, '0-1', 'open', '');
    for (const event of deltas(1, 2))
      await installation.raw.xadd(key, `1-${event.sequence}`, 'event', JSON.stringify(event));
    await written.append(id, delta(6));
    await writer.streamLogs.settled();
    expect(await remote.progress(id)).toMatchObject({ text: '1 2 3 4 5 6 ', lastEvent: 6 });
  });

  it('an answer that got lost stores nothing twice', async () => {
    const { writer, written, remote, id, key } = await opened();
    await installation.raw.xadd(key, '1-1', 'event', JSON.stringify(delta(1)));
    for (const event of deltas(1, 3)) await written.append(id, event);
    await writer.streamLogs.settled();
    expect(await remote.progress(id)).toMatchObject({ text: '1 2 3 ', lastEvent: 3 });
  });

  it('the end of a dead process’s stream is told by another, and what the dead still says is refused', async () => {
    const { writer, written, remote, id, key } = await opened();
    const third = logOf(await installation.connect());
    await written.append(id, delta(1));
    await writer.streamLogs.settled();
    const [local, far] = [(await written.read(id, 1))!, collect((await remote.read(id, 0))!)];
    await third.append(id, delta(2, 'not mine'));
    await third.append(id, terminal(2, 'FAILED'));
    await third.append(id, terminal(3, 'CANCELLED'));
    expect(numbersOf(await far)).toEqual([1, 2]);

    const broken = local.next().catch((error: unknown) => error);
    await settle();
    await Promise.all(deltas(2, 4).map((event) => written.append(id, event)));
    await writer.streamLogs.settled();
    expect(await broken).toMatchObject({ value: delta(2) });
    for (const sequence of [3, 4]) expect((await local.next()).value).toEqual(delta(sequence));
    await expect(local.next()).rejects.toMatchObject({ code: 'INTERRUPTED' });
    await written.append(id, terminal(3));
    for (const log of [written, remote]) {
      const events = await collect((await log.read(id, 0))!);
      expect(events).toEqual([delta(1), terminal(2, 'FAILED')]);
    }
    expect(await installation.raw.xlen(key)).toBe(3);
  });

  it('who leaves a stream reads what the other writes', async () => {
    const { writer, written, id } = await opened();
    const third = logOf(await installation.connect());
    await written.append(id, delta(1));
    await writer.streamLogs.settled();
    const local = (await written.read(id, 1))!;
    const broken = local.next().catch((error: unknown) => error);
    await written.leave(id);
    expect(await broken).toMatchObject({ code: 'INTERRUPTED' });
    const resumed = collect((await written.read(id, 1))!);
    await third.append(id, terminal(2, 'FAILED'));
    expect(numbersOf(await resumed)).toEqual([2]);
  });

  it('what waits for a slow reader is dropped when it is withheld', async () => {
    const { writer, written, remote, id } = await opened();
    const slow = (await remote.read(id, 0))!;
    for (const event of deltas(1, 3)) await written.append(id, event);
    await writer.streamLogs.settled();
    expect((await slow.next()).value).toEqual(delta(1));
    await written.withhold(id);
    await remote.progress(id); // answered after the publication
    await written.append(id, terminal(4, 'FAILED'));
    expect(numbersOf(await collect(slow))).toEqual([4]);
  });

  it('a stream is kept for 2 hours while it runs, 15 minutes after its end', async () => {
    const { written, id, key } = await opened();
    expect(await installation.raw.pttl(key)).toBeGreaterThan(119 * 60 * SECOND);
    await written.append(id, terminal(1));
    expect(await installation.raw.pttl(key)).toBeLessThanOrEqual(15 * 60 * SECOND);
    expect(await installation.raw.pttl(key)).toBeGreaterThan(14 * 60 * SECOND);
  });

  it('every key begins with the installation, and then the tenant or the system', async () => {
    const { writer } = await opened();
    await writer.slots.take(acme, 'turn', 1);
    await writer.limiter.take({ tenantId: acme, meter: 'requests', lane: 'callers' }, 1);
    const keys = (await installation.raw.keys(`${installation.prefix}*`)).map((key) => key.split('#').slice(1, 4));
    expect(keys.map((key) => key.join('#')).sort()).toEqual([
      'SYS#INSTANCES',
      'T#acme#RATE',
      'T#acme#SLOTS',
      'T#acme#ST',
    ]);
  });
});
