import type { Clock } from '../../kernel/clock.ts';
import { repeat } from '../../kernel/repeating.ts';
import { call } from './call.ts';

const EVERY_MS = 10 * 60_000;
/** Rows looked at by one request. */
const PAGE_ROWS = 500;
const ATTRIBUTE = 'ttl';

type Key = Readonly<Record<string, unknown>>;

interface ScanPage {
  readonly Items: readonly Key[];
  readonly LastEvaluatedKey?: Key;
}

/**
 * Deletes what DynamoDB's time to live would delete, which dynalite has not: every ten minutes, in every table, the items whose `ttl` is
 * over. Each deletion has that as its condition, so an item that was given more time meanwhile stays. The returned function ends it.
 */
export function startTimeToLive(host: string, port: number, clock: Clock): () => Promise<void> {
  const ask = <T>(operation: string, input: object) => call<T>({ host, port, operation, input });
  const isOver = () => ({
    ExpressionAttributeNames: { '#ttl': ATTRIBUTE },
    ExpressionAttributeValues: { ':now': { N: String(Math.floor(clock.now() / 1000)) } },
  });

  async function sweep(TableName: string, stopping: AbortSignal) {
    const { Table } = await ask<{ Table: { KeySchema: readonly { AttributeName: string }[] } }>('DescribeTable', {
      TableName,
    });
    const key = Table.KeySchema.map(({ AttributeName }) => AttributeName).join(', ');
    let start: Key | undefined;
    do {
      const { Items, LastEvaluatedKey } = await ask<ScanPage>('Scan', {
        ...{ TableName, Limit: PAGE_ROWS, ProjectionExpression: key, FilterExpression: '#ttl <= :now', ...isOver() },
        ...(start && { ExclusiveStartKey: start }),
      });
      for (const Key of Items) {
        if (stopping.aborted) return;
        await ask('DeleteItem', { TableName, Key, ConditionExpression: '#ttl <= :now', ...isOver() }).catch(() => null);
      }
      start = LastEvaluatedKey;
    } while (start && !stopping.aborted);
  }

  async function round(stopping: AbortSignal) {
    const { TableNames } = await ask<{ TableNames: readonly string[] }>('ListTables', {});
    for (const name of TableNames) if (!stopping.aborted) await sweep(name, stopping);
  }

  return repeat({ clock, everyMs: EVERY_MS, task: round, failed: () => undefined }); // the engine restarts by itself
}
