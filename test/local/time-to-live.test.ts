import { BatchWriteCommand } from '@aws-sdk/lib-dynamodb';
import { expect, it } from 'vitest';
import { startLocalDynamoDb } from '../../src/local/dynamodb/engine.ts';
import { createTestClock } from '../support/clock.ts';
import { connect, createTable, rowsOf } from './fixtures/tables.ts';

const TEN_MINUTES = 600_000;
/** More than one page of what is looked at. */
const KEPT = 520;

it('items whose time to live is over are deleted by the embedded engine, with their index entries, and no others', async () => {
  const clock = createTestClock();
  const engine = await startLocalDynamoDb({ clock });
  const client = connect(engine.endpoint);
  try {
    await createTable(client, 'app');
    const now = Math.floor(clock.now() / 1000);
    const row = (SK: string, more: object) => ({ PK: 'T#acme', SK, g1PK: 'list', g1SK: SK, ...more });
    const rows = [
      ...Array.from({ length: KEPT }, (_, n) => row(`kept-${n}`, n % 2 ? {} : { ttl: 'tomorrow' })),
      ...['a over', 'z over'].map((SK) => row(SK, { ttl: now + 1 })),
      row('later', { ttl: now + 3_600 }),
    ];
    for (let from = 0; from < rows.length; from += 25) {
      const app = rows.slice(from, from + 25).map((Item) => ({ PutRequest: { Item } }));
      await client.send(new BatchWriteCommand({ RequestItems: { app } }));
    }
    const left = async (index?: string) => {
      const names = (await rowsOf(client, 'app', index)).map(({ SK }) => String(SK));
      return names
        .filter((name) => !name.startsWith('kept'))
        .concat(String(names.length))
        .sort();
    };
    expect(await left()).toEqual([`${KEPT + 3}`, 'a over', 'later', 'z over']);
    await clock.advance(TEN_MINUTES);
    await expect.poll(() => left(), { timeout: 20_000 }).toEqual([`${KEPT + 1}`, 'later']);
    expect(await left('all')).toEqual([`${KEPT + 1}`, 'later']);
    await expect.poll(() => clock.pending()).toBe(1); // the next round
    await clock.advance(6 * TEN_MINUTES);
    await expect.poll(() => left(), { timeout: 20_000 }).toEqual([`${KEPT}`]);
  } finally {
    client.destroy();
    await engine.close();
  }
  expect(clock.pending()).toBe(0);
});
