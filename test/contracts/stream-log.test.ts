import { afterEach, describe, expect, it } from 'vitest';
import { createMemoryStreamLogs } from '../../src/adapters/memory/stream-log.ts';
import { messageId, type StreamEvent } from '../../src/conversations/model.ts';
import type { StreamLog } from '../../src/conversations/ports.ts';
import type { TenantId } from '../../src/tenancy/tenant-id.ts';
import { parseTenantId } from '../../src/tenancy/tenant-id.ts';
import { collect } from '../support/collect.ts';
import { createTestClock, settle, type TestClock } from '../support/clock.ts';
import { openInstallation, REDIS_NAME, REDIS_URL } from '../support/redis.ts';
import { aConversation, answerIdOf } from '../support/conversation-rows.ts';
import { citation, delta, numbersOf, terminal } from '../support/stream-events.ts';

const MINUTE = 60_000;
const [acme, globex] = [parseTenantId('acme')!, parseTenantId('globex')!];

interface Opened {
  forTenant(tenantId: TenantId): StreamLog;
  /** Lets time pass, in the storage too. */
  advance(ms: number): Promise<void>;
  /** How exactly its times can be told: Redis has a clock of its own. */
  readonly slackMs: number;
  close(): Promise<void>;
}

function openMemory(clock: TestClock): Promise<Opened> {
  const logs = createMemoryStreamLogs(clock);
  return Promise.resolve({
    forTenant: (tenantId) => logs.forTenant(tenantId),
    advance: (ms) => clock.advance(ms),
    slackMs: 1,
    close: () => Promise.resolve(),
  });
}

async function openRedis(clock: TestClock, elsewhere: boolean): Promise<Opened> {
  const installation = openInstallation(REDIS_URL!);
  const [writer, reader] = [await installation.connect({ clock }), await installation.connect({ clock })];
  const own = (tenantId: TenantId) => writer.streamLogs.forTenant(tenantId);
  function readElsewhere(tenantId: TenantId): StreamLog {
    const [written, read] = [own(tenantId), reader.streamLogs.forTenant(tenantId)];
    return {
      ...written,
      async append(id, event) {
        await written.append(id, event);
        await writer.streamLogs.settled();
      },
      read: (id, after) => read.read(id, after),
      progress: (id) => read.progress(id),
    };
  }
  return {
    forTenant: elsewhere ? readElsewhere : own,
    slackMs: MINUTE,
    async advance(ms) {
      await installation.elapse(ms);
      await clock.advance(ms);
    },
    close: () => installation.close(),
  };
}

const ADAPTERS: readonly { name: string; skip?: boolean; open: (clock: TestClock) => Promise<Opened> }[] = [
  { name: 'memory', open: openMemory },
  { name: REDIS_NAME, skip: !REDIS_URL, open: (clock) => openRedis(clock, false) },
  { name: `${REDIS_NAME}, read on another instance`, skip: !REDIS_URL, open: (clock) => openRedis(clock, true) },
];

for (const { name, skip = false, open } of ADAPTERS)
  describe.skipIf(skip)(`StreamLog on ${name}`, () => {
    const close: (() => Promise<void>)[] = [];
    afterEach(async () => {
      for (const each of close.splice(0)) await each();
    });

    async function opened() {
      const logs = await open(createTestClock());
      close.push(() => logs.close());
      const log = logs.forTenant(acme);
      const id = answerIdOf(aConversation(acme));
      await log.open(id);
      return { logs, log, id };
    }

    const readAll = async (log: StreamLog, id: string, after = 0) => collect((await log.read(id, after))!);

    it('a stream that was never opened is null, and takes nothing', async () => {
      const { log } = await opened();
      const other = answerIdOf(aConversation(acme));
      await log.append(other, delta(1));
      expect(await log.read(other, 0)).toBeNull();
      expect(await log.progress(other)).toBeNull();
    });

    it('live, late and slow readers see the same events, without gaps, in order', async () => {
      const { log, id } = await opened();
      const early = Array.from({ length: 3 }, () => readAll(log, id));
      const events = [
        ...Array.from({ length: 50 }, (_, n) => (n % 10 === 9 ? citation(n + 1) : delta(n + 1))),
        terminal(51),
      ];
      const joining: Promise<StreamEvent[]>[] = [];
      for (const event of events) {
        await log.append(id, event);
        if (event.sequence % 13 === 0) joining.push(readAll(log, id));
        if (event.sequence % 7 === 0) await settle(1);
      }
      for (const read of [...early, ...joining, readAll(log, id)]) expect(await read).toEqual(events);
    });

    it('reading from any number on replays what follows it, and the terminal event always', async () => {
      const { log, id } = await opened();
      for (const event of [delta(1), delta(2), citation(3), delta(4), terminal(5, 'FAILED')])
        await log.append(id, event);
      for (const [after, expected] of [
        [0, [1, 2, 3, 4, 5]],
        [1, [2, 3, 4, 5]],
        [4, [5]],
        [5, [5]],
        [6, [5]],
        [2_147_483_647, [5]],
      ] as const)
        expect(numbersOf(await readAll(log, id, after))).toEqual(expected);
    });

    it('a reader that is ahead of the stream waits for what comes after its number', async () => {
      const { log, id } = await opened();
      const read = readAll(log, id, 3);
      for (const event of [delta(1), delta(2), delta(3), delta(4), terminal(5)]) await log.append(id, event);
      expect(numbersOf(await read)).toEqual([4, 5]);
    });

    it('what is appended after the terminal event is dropped, a second terminal event too', async () => {
      const { log, id } = await opened();
      await log.append(id, delta(1));
      const live = readAll(log, id);
      await log.append(id, terminal(2));
      await log.append(id, delta(3, 'late'));
      await log.append(id, terminal(2, 'FAILED'));
      await log.append(id, terminal(4, 'CANCELLED'));
      for (const read of [live, readAll(log, id)]) {
        const events = await read;
        expect(numbersOf(events)).toEqual([1, 2]);
        expect(events.at(-1)?.type).toBe('COMPLETED');
      }
      expect(await log.progress(id)).toMatchObject({ text: '1 ', lastEvent: 2 });
    });

    it('opening it again forgets nothing', async () => {
      const { log, id } = await opened();
      await log.append(id, delta(1));
      await log.open(id);
      await log.append(id, terminal(2));
      await log.open(id);
      expect(numbersOf(await readAll(log, id))).toEqual([1, 2]);
    });

    it('the progress is the text of the deltas so far, and the number of the last event', async () => {
      const { log, id } = await opened();
      expect(await log.progress(id)).toMatchObject({ text: '', lastEvent: 0 });
      for (const event of [delta(1, 'Hello '), citation(2), delta(3, 'wörld 🚀')]) await log.append(id, event);
      expect(await log.progress(id)).toMatchObject({ text: 'Hello wörld 🚀', lastEvent: 3 });
      await log.append(id, terminal(4));
      expect(await log.progress(id)).toMatchObject({ text: 'Hello wörld 🚀', lastEvent: 4 });
    });

    it('what is withheld is shown to nobody any more: live, late or slow, they see the end alone, at its number', async () => {
      const { log, id } = await opened();
      for (const event of [delta(1, 'SECRET'), citation(2), delta(3, 'SECRET')]) await log.append(id, event);
      const slow = (await log.read(id, 0))!;
      expect((await slow.next()).value).toMatchObject({ sequence: 1 });
      const waiting = readAll(log, id, 3);
      await log.withhold(id);
      await log.withhold(id);
      expect(JSON.stringify(await log.progress(id))).not.toContain('SECRET');
      expect(await log.progress(id)).toMatchObject({ lastEvent: 3 });
      const late = readAll(log, id);
      await log.append(id, terminal(4, 'FAILED'));
      expect((await slow.next()).value).toMatchObject({ sequence: 4, type: 'FAILED' });
      for (const read of [waiting, late, readAll(log, id)]) expect(numbersOf(await read)).toEqual([4]);
    });

    it('withholding a stream that is not there does nothing', async () => {
      const { log } = await opened();
      const other = answerIdOf(aConversation(acme));
      await log.withhold(other);
      expect(await log.read(other, 0)).toBeNull();
    });

    it('return() ends a reader that waits, at once, and no other', async () => {
      const { log, id } = await opened();
      const [leaving, staying] = [(await log.read(id, 0))!, (await log.read(id, 0))!];
      const [waiting, other] = [leaving.next(), staying.next()];
      expect(await leaving.return!()).toEqual({ value: undefined, done: true });
      expect(await waiting).toEqual({ value: undefined, done: true });
      expect((await leaving.next()).done).toBe(true);
      await log.append(id, delta(1));
      expect((await other).value).toEqual(delta(1));
      expect((await leaving.next()).done).toBe(true);
      await log.append(id, terminal(2));
      expect((await staying.next()).value).toMatchObject({ sequence: 2 });
      expect((await staying.next()).done).toBe(true);
    });

    it('a reader that leaves in the middle changes nothing for the stream', async () => {
      const { log, id } = await opened();
      for (const event of [delta(1), delta(2)]) await log.append(id, event);
      for await (const event of (await log.read(id, 0))!) if (event.sequence === 1) break;
      await log.append(id, terminal(3));
      expect(numbersOf(await readAll(log, id))).toEqual([1, 2, 3]);
    });

    it('two next() at the same time get one event each', async () => {
      const { log, id } = await opened();
      const reader = (await log.read(id, 0))!;
      const both = Promise.all([reader.next(), reader.next()]);
      await log.append(id, delta(1));
      await log.append(id, terminal(2));
      expect((await both).map(({ value }) => (value as StreamEvent).sequence)).toEqual([1, 2]);
    });

    it('it is kept 15 minutes after the end, not after the beginning, and a reader inside still reads on', async () => {
      const { logs, log, id } = await opened();
      await log.append(id, delta(1));
      await logs.advance(60 * MINUTE);
      expect(await log.progress(id)).not.toBeNull();
      await log.append(id, terminal(2));
      await logs.advance(15 * MINUTE - logs.slackMs);
      const reader = (await log.read(id, 0))!;
      expect((await reader.next()).value).toEqual(delta(1));
      await logs.advance(logs.slackMs);
      expect(await log.read(id, 0)).toBeNull();
      expect(await log.progress(id)).toBeNull();
      expect((await reader.next()).value).toMatchObject({ sequence: 2 });
    });

    it('another tenant reads nothing, writes nothing and cannot guess a name that does', async () => {
      const { logs, log, id } = await opened();
      await log.append(id, delta(1));
      const foreign = logs.forTenant(globex);
      for (const name of [id, `acme ${id}`, ` ${id}`, `../acme/${id}`, `acme#${id}`]) {
        expect(await foreign.read(name, 0)).toBeNull();
        expect(await foreign.progress(name)).toBeNull();
        await foreign.withhold(name);
        await foreign.append(name, delta(2, 'theirs'));
      }
      await foreign.open(id);
      await foreign.append(id, delta(1, 'theirs'));
      expect(await log.progress(id)).toMatchObject({ text: '1 ' });
      expect(await foreign.progress(id)).toMatchObject({ text: 'theirs' });
    });

    it('a thousand streams do not mix', async () => {
      const { log } = await opened();
      const conversation = aConversation(acme);
      const ids = Array.from({ length: 1_000 }, (_, n) => messageId(conversation.id, n + 1));
      await Promise.all(ids.map((each) => log.open(each)));
      await Promise.all(ids.map((each) => log.append(each, delta(1, each))));
      for (const each of ids) expect(await log.progress(each)).toMatchObject({ text: each, lastEvent: 1 });
    });
  });

it('the memory of a stream is given back after its time', async () => {
  const clock = createTestClock();
  const logs = createMemoryStreamLogs(clock);
  const id = answerIdOf(aConversation(acme));
  await logs.forTenant(acme).open(id);
  await logs.forTenant(acme).append(id, terminal(1));
  expect(logs.count()).toBe(1);
  await clock.advance(15 * MINUTE);
  expect(logs.count()).toBe(0);
  expect(clock.pending()).toBe(0);
});

it('a reader that leaves wakes nobody else: thousands that leave one by one are gone in no time', async () => {
  const log = createMemoryStreamLogs(createTestClock()).forTenant(acme);
  const id = answerIdOf(aConversation(acme));
  await log.open(id);
  const readers = await Promise.all(Array.from({ length: 8_000 }, () => log.read(id, 0)));
  const reading = readers.map((reader) => reader!.next());
  for (const reader of readers) {
    await reader!.return!();
    await settle(1);
  }
  expect((await Promise.all(reading)).every(({ done }) => done)).toBe(true);
}, 5_000);
