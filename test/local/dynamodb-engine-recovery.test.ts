import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PutCommand } from '@aws-sdk/lib-dynamodb';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { startLocalDynamoDb } from '../../src/local/dynamodb/engine.ts';
import type { LocalDynamoDbEvent } from '../../src/local/dynamodb/engine.ts';
import { acquireFileLock } from '../../src/kernel/file-lock.ts';
import { ownIdentity } from '../../src/kernel/process-identity.ts';
import { createStore } from '../../src/local/dynamodb/store.ts';
import { runFixture } from './fixtures/child.ts';
import { connect, createTable, expectedIndex, rowsOf } from './fixtures/tables.ts';
import { LOAD_TABLE, stateAfter, WRITERS } from './fixtures/write-load.ts';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

let dataDir: string;
beforeEach(() => {
  const folder = (dataDir = mkdtempSync(join(tmpdir(), 'dynamodb-recovery-')));
  cleanups.push(() => rmSync(folder, { recursive: true, force: true }));
});

const start = async () => {
  const events: LocalDynamoDbEvent[] = [];
  const engine = await startLocalDynamoDb({ dataDir, onEvent: (event) => events.push(event) });
  cleanups.push(() => engine.close());
  return { engine, events, client: connect(engine.endpoint) };
};

const run = (file: string, ...args: string[]) => {
  const child = runFixture(file, ...args);
  cleanups.push(() => child.kill());
  return child;
};

/** Starts and kills an engine, so that the folder is as a dead process leaves it: a stale lock and no clean end. */
const leaveUnclean = async () => {
  const child = run('engine-process.ts', dataDir);
  await child.heard('ready');
  await child.kill();
};

describe('kill -9 under write load', () => {
  it.each([1, 2, 3])('loses no acknowledged write, and the indexes equal the table (round %i)', async (round) => {
    const child = run('engine-process.ts', dataDir, 'write');
    await child.heard('ready');
    // Each writer passes its deletes and index moves several times; where exactly the kill falls is left to chance.
    await child.heard(`ack ${round} ${20 * round}`);
    await child.kill();

    const last = new Map<number, number>();
    for (const line of child.lines.filter((text) => text.startsWith('ack '))) {
      const [, writer, n] = line.split(' ').map(Number);
      last.set(writer!, n!);
    }
    const { client, events } = await start();
    const rows = await rowsOf(client, LOAD_TABLE);
    for (let writer = 0; writer < WRITERS; writer++) {
      const n = last.get(writer) ?? 0;
      const found = rows.find(({ PK }) => PK === `w${writer}`);
      // The write after the last acknowledged one was under way: it is there wholly or not at all.
      expect([stateAfter(writer, n), stateAfter(writer, n + 1)]).toContainEqual(found);
    }
    for (const index of ['all', 'some'] as const) {
      expect(await rowsOf(client, LOAD_TABLE, index)).toEqual(expectedIndex(rows, index));
    }
    expect(events.map(({ type }) => type)).toEqual(['lock-taken-over', 'repaired']);
  });
});

describe('after an unclean end', () => {
  const item = (SK: string) => ({ PK: 'a', SK, title: SK, g1PK: 'list', g1SK: SK, g2PK: 'user', g2SK: SK });
  const raw = (SK: string, more: Record<string, string> = {}) =>
    Object.fromEntries(Object.entries({ ...item(SK), ...more }).map(([name, value]) => [name, { S: value }]));

  /** Changes the files behind the engine's back, as a death between two of dynalite's writes does. */
  const plantFaults = async () => {
    const store = createStore(join(dataDir, 'leveldb'));
    await store.db.open();
    const keysOf = async (range: string) => {
      const iterator = store.db.keys({ gte: range, lt: `${range}\xff` });
      const keys = await iterator.nextv(100);
      await iterator.close();
      return keys;
    };
    const entries = await keysOf('index-global~app~all~');
    const [first = '', second = '', third = ''] = entries;
    expect(entries).toHaveLength(3);
    const table = (await store.db.get('table~app')) as object;
    await store.db.batch([
      { type: 'put', key: first.replace(/.{6}$/, 'ffffff'), value: raw('never stored') },
      { type: 'put', key: second.replace(/\/[^/]*\/([^/]*)$/, '/00/$1'), value: raw('2', { g1SK: 'moved' }) },
      { type: 'del', key: first },
      { type: 'put', key: third, value: raw('3', { title: 'not yet stored' }) },
      { type: 'del', key: (await keysOf('index-global~app~some~'))[0]! },
      { type: 'put', key: 'table~app', value: { ...table, TableStatus: 'CREATING' } },
      { type: 'put', key: 'table~half-gone', value: { ...table, TableName: 'half-gone', TableStatus: 'DELETING' } },
      { type: 'put', key: 'item-half-gone~00/61/', value: raw('1') },
    ]);
    await store.db.close();
  };

  it('removes ghosts, enters what is missing, corrects what differs, and leaves every item as it was', async () => {
    const before = await start();
    await createTable(before.client, 'app');
    for (const SK of ['1', '2', '3']) await before.client.send(new PutCommand({ TableName: 'app', Item: item(SK) }));
    const rows = await rowsOf(before.client, 'app');
    await before.engine.close();
    await leaveUnclean();
    await plantFaults();

    const { client, events } = await start();
    expect(events).toContainEqual({ type: 'repaired', ghosts: 2, missing: 2, outdated: 1, tables: 2 });
    expect(await rowsOf(client, 'app')).toEqual(rows);
    expect(await rowsOf(client, 'app', 'all')).toEqual(expectedIndex(rows, 'all'));
    expect(await rowsOf(client, 'app', 'some')).toEqual(expectedIndex(rows, 'some'));
    await createTable(client, 'half-gone');
    expect(await rowsOf(client, 'half-gone')).toEqual([]);
  });

  it('repairs at the next start that succeeds, even when one failed in between', async () => {
    await leaveUnclean();
    await expect(startLocalDynamoDb({ dataDir, host: '203.0.113.1' })).rejects.toThrow('EADDRNOTAVAIL');
    const { events } = await start();
    expect(events).toEqual([{ type: 'repaired', ghosts: 0, missing: 0, outdated: 0, tables: 0 }]);
  });
});

describe('one folder, two engines', () => {
  it('refuses a second process with the folder and the pid, and the first goes on unharmed', async () => {
    const { client, events } = await start();
    await createTable(client, 'app');
    const files = () => readdirSync(join(dataDir, 'leveldb'));
    const before = files();
    const second = run('engine-process.ts', dataDir);
    const message = `the data folder ${dataDir} is in use by another process (pid ${process.pid})`;
    expect(await second.heard('refused')).toBe(message);
    expect(files()).toEqual(before);
    await client.send(new PutCommand({ TableName: 'app', Item: { PK: 'a', SK: '1' } }));
    expect(await rowsOf(client, 'app')).toHaveLength(1);
    expect(events).toEqual([]);
  });

  it('refuses a second engine in the same process', async () => {
    await start();
    await expect(startLocalDynamoDb({ dataDir })).rejects.toThrow(`is in use by this process (pid ${process.pid})`);
  });

  it('is refused by LevelDB itself when the lock file was removed by hand, and does not disturb the first', async () => {
    const { client } = await start();
    await createTable(client, 'app');
    rmSync(join(dataDir, 'engine.lock'));
    const second = run('engine-process.ts', dataDir);
    expect(await second.heard('refused')).toMatch(/cannot open the store in .*lock/i);
    await client.send(new PutCommand({ TableName: 'app', Item: { PK: 'a', SK: '1' } }));
    expect(await rowsOf(client, 'app')).toHaveLength(1);
  });
});

describe('the lock', () => {
  const lockPath = () => join(dataDir, 'engine.lock');

  it('of a killed process is taken over, with a report naming its pid', async () => {
    await leaveUnclean();
    const { pid } = JSON.parse(readFileSync(lockPath(), 'utf8')) as { pid: number };
    const { events } = await start();
    expect(events[0]).toEqual({ type: 'lock-taken-over', pid });
  });

  it.skipIf(process.platform !== 'linux')('whose pid belongs to a later process by now is taken over', () => {
    const owner = { ...ownIdentity(), token: 'old' };
    writeFileSync(lockPath(), JSON.stringify({ ...owner, startedAt: 'an-earlier-boot:1' }));
    expect(acquireFileLock(lockPath()).takenOverFrom).toBe(process.pid);
    writeFileSync(lockPath(), JSON.stringify(owner));
    expect(() => acquireFileLock(lockPath())).toThrow(`held by process ${process.pid}`);
  });

  it('that cannot be read is taken over', () => {
    writeFileSync(lockPath(), '{"pid":');
    const lock = acquireFileLock(lockPath());
    expect(lock.takenOverFrom).toBeNull();
    lock.release();
    expect(readdirSync(dataDir)).toEqual([]);
  });

  it('lost to another process is not removed by its former holder', () => {
    const lock = acquireFileLock(lockPath());
    writeFileSync(lockPath(), JSON.stringify({ ...ownIdentity(), token: 'another' }));
    lock.release();
    expect(readdirSync(dataDir)).toEqual(['engine.lock']);
  });

  it('left by a dead process goes to exactly one of four processes that want it at once', async () => {
    const count = 300;
    const locks = join(dataDir, 'locks');
    mkdirSync(locks);
    const dead = JSON.stringify({ pid: 2 ** 31 - 1, startedAt: null, token: 'dead' });
    for (let i = 0; i < count; i++) writeFileSync(join(locks, String(i)), dead);
    const contenders = Array.from({ length: 4 }, () => run('lock-contender.ts', locks, String(count)));
    await Promise.all(contenders.map((contender) => contender.heard('up')));
    for (const contender of contenders) contender.write('go\n');
    const won = await Promise.all(contenders.map(async (each) => JSON.parse(await each.heard('won')) as number[]));
    expect(won.flat().sort((a, b) => a - b)).toEqual(Array.from({ length: count }, (_, i) => i));
    expect(readdirSync(locks)).toHaveLength(count);
    for (const contender of contenders) contender.hangUp();
  });
});
