import { randomBytes } from 'node:crypto';
import { DeleteTableCommand, DynamoDBClient } from '@aws-sdk/client-dynamodb';
import {
  BatchWriteCommand,
  DeleteCommand,
  DynamoDBDocumentClient,
  PutCommand,
  ScanCommand,
} from '@aws-sdk/lib-dynamodb';
import { afterAll, beforeAll, describe } from 'vitest';
import { createDynamoDb, type DynamoDb, type DynamoDbOptions } from '../../src/adapters/dynamodb/index.ts';
import { systemClock, type Clock } from '../../src/kernel/clock.ts';
import { startLocalDynamoDb } from '../../src/local/dynamodb/engine.ts';
import { parseTenantId, type TenantId } from '../../src/tenancy/tenant-id.ts';
import { startLossyProxy, type LossyProxy } from './lossy-proxy.ts';

const ACCESS = { region: 'us-east-1', credentials: { accessKeyId: 'contract', secretAccessKey: 'contract' } };
const TABLES = ['app', 'usage', 'audit'] as const;
const BATCH_ROWS = 25;
const BATCHES_AT_ONCE = 8;

export type RawRow = Readonly<Record<string, unknown>> & { readonly PK: string; readonly SK: string };

/** Tables of their own on one engine, and ways to them. */
export interface Storage {
  /** Stores as the product has them; each call is another process with a holder of its own. */
  connect(options?: {
    readonly clock?: Clock;
    readonly usageRetention?: NonNullable<DynamoDbOptions['usageRetention']>;
    readonly proxy?: LossyProxy;
    readonly onRequest?: NonNullable<DynamoDbOptions['onRequest']>;
  }): DynamoDb;
  /** A tenant that nobody has used. */
  tenant(): TenantId;
  /** Every row of one tenant, in every table, as DynamoDB holds it. */
  rowsOf(tenantId: TenantId): Promise<RawRow[]>;
  allRows(): Promise<RawRow[]>;
  putRaw(row: RawRow): Promise<void>;
  /** Writes very many rows, as fast as it can be done. */
  load(table: (typeof TABLES)[number], rows: Iterable<RawRow>): Promise<void>;
  /** Writes and removes rows behind the product's back. */
  tamper(table: string, rows: { readonly put: readonly RawRow[]; readonly remove: readonly RawRow[] }): Promise<void>;
  proxy(): Promise<LossyProxy>;
  close(): Promise<void>;
}

/** A time that can be moved; timers stay real, so that nothing waits for the test. */
export function createMovableClock() {
  let offset = 0;
  return {
    now: () => systemClock.now() + offset,
    after: (ms: number, task: () => void) => systemClock.after(ms, task),
    move: (ms: number) => {
      offset += ms;
    },
  };
}

export async function openStorage(endpoint: string, release: () => Promise<void>): Promise<Storage> {
  const tablePrefix = `contract-${randomBytes(6).toString('hex')}-`;
  const opened: { close(): unknown }[] = [];
  const client = new DynamoDBClient({ ...ACCESS, endpoint });
  const doc = DynamoDBDocumentClient.from(client);

  const connect: Storage['connect'] = ({ clock = systemClock, usageRetention, proxy, onRequest } = {}) => {
    const db = createDynamoDb({
      ...ACCESS,
      endpoint: proxy?.endpoint ?? endpoint,
      tablePrefix,
      cursorSecret: 'a secret of the contract tests, 32 characters and more',
      clock,
      ...(usageRetention && { usageRetention }),
      ...(onRequest && { onRequest }),
    });
    opened.push(db);
    return db;
  };

  async function allRows(PK = ''): Promise<RawRow[]> {
    const filter = { FilterExpression: 'begins_with(PK, :pk)', ExpressionAttributeValues: { ':pk': PK } };
    const rows: RawRow[] = [];
    for (const table of TABLES) {
      let start: Record<string, unknown> | undefined;
      do {
        const page = await doc.send(
          new ScanCommand({
            TableName: `${tablePrefix}${table}`,
            ConsistentRead: true,
            ...(PK !== '' && filter),
            ...(start && { ExclusiveStartKey: start }),
          }),
        );
        rows.push(...((page.Items ?? []) as RawRow[]));
        start = page.LastEvaluatedKey;
      } while (start);
    }
    return rows;
  }

  await connect().createTables();
  return {
    connect,
    allRows: () => allRows(),
    tenant: () => parseTenantId(`t${randomBytes(8).toString('hex')}`)!,
    rowsOf: (tenantId) => allRows(`T#${tenantId}#`),
    putRaw: async (row) => void (await doc.send(new PutCommand({ TableName: `${tablePrefix}app`, Item: row }))),
    async load(table, rows) {
      const left = rows[Symbol.iterator]();
      const worker = async () => {
        for (;;) {
          const batch = Array.from({ length: BATCH_ROWS }, () => left.next()).flatMap(({ done, value }) =>
            done === true ? [] : [{ PutRequest: { Item: value } }],
          );
          if (batch.length === 0) return;
          await doc.send(new BatchWriteCommand({ RequestItems: { [`${tablePrefix}${table}`]: batch } }));
        }
      };
      await Promise.all(Array.from({ length: BATCHES_AT_ONCE }, worker));
    },
    async tamper(table, { put, remove }) {
      const TableName = `${tablePrefix}${table}`;
      for (const Item of put) await doc.send(new PutCommand({ TableName, Item }));
      for (const { PK, SK } of remove) await doc.send(new DeleteCommand({ TableName, Key: { PK, SK } }));
    },
    async proxy() {
      const proxy = await startLossyProxy(endpoint);
      opened.push(proxy);
      return proxy;
    },
    async close() {
      for (const table of TABLES) await client.send(new DeleteTableCommand({ TableName: `${tablePrefix}${table}` }));
      for (const each of opened) await each.close();
      client.destroy();
      await release();
    },
  };
}

export async function openEmbeddedStorage(): Promise<Storage> {
  const engine = await startLocalDynamoDb();
  return openStorage(engine.endpoint, () => engine.close());
}

/** Runs a suite on the embedded engine, and on the endpoint of `CONTRACT_DYNAMODB_ENDPOINT` where one is set. */
export function onEveryEngine(port: string, suite: (storage: () => Storage) => void): void {
  const endpoint = process.env['CONTRACT_DYNAMODB_ENDPOINT'];
  const engines = [
    { name: 'the embedded engine', open: openEmbeddedStorage },
    {
      name: endpoint ?? 'another engine (SKIPPED: CONTRACT_DYNAMODB_ENDPOINT is not set)',
      open: endpoint ? () => openStorage(endpoint, () => Promise.resolve()) : null,
    },
  ];
  for (const { name, open } of engines) {
    describe.skipIf(open === null)(`${port} on ${name}`, () => {
      let storage: Storage;
      beforeAll(async () => {
        storage = await open!();
      });
      afterAll(() => storage.close());
      suite(() => storage);
    });
  }
}
