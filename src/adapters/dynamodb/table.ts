import type { ReturnValue } from '@aws-sdk/client-dynamodb';
import {
  BatchGetCommand,
  BatchWriteCommand,
  DeleteCommand,
  GetCommand,
  PutCommand,
  QueryCommand,
  UpdateCommand,
  type DynamoDBDocumentClient,
  type QueryCommandInput,
} from '@aws-sdk/lib-dynamodb';
import { sleep, type Clock } from '../../kernel/clock.ts';
import { ulid } from '../../kernel/ids.ts';
import {
  absent,
  allOf,
  anyOf,
  below,
  createBindings,
  updateExpression,
  type Changes,
  type Condition,
} from './expressions.ts';
import type { Key } from './keys.ts';

export type Item = Readonly<Record<string, unknown>>;

/** A conditional write that was done, or the row as it stood against it. */
export type WriteResult<T extends Item = Item> =
  { readonly done: true; readonly item: T } | { readonly done: false; readonly current: T | null };

export interface Query {
  readonly PK: string;
  readonly index?: 'gsi1' | 'gsi2' | 'gsi3' | 'gsi4' | 'due';
  readonly prefix?: string;
  /** Both ends included. */
  readonly between?: readonly [string, string];
  /** Sort keys after or before this one, itself excluded. */
  readonly after?: string;
  readonly before?: string;
  readonly descending?: boolean;
  readonly limit?: number;
  readonly filter?: Condition;
  readonly keysOnly?: boolean;
}

/** DynamoDB's limits on one batch. */
const BATCH_GET_KEYS = 100;
const BATCH_WRITE_ROWS = 25;
const BATCH_TRIES = 8;
const BATCH_BACKOFF_MS = 20;

/** The attribute by which a row is there no longer from a moment on; none for one that is kept for ever. */
export const keptUntil = (ms: number): { readonly ttl?: number } =>
  ms === Infinity ? {} : { ttl: Math.ceil(ms / 1000) };

/** Time to live: seconds since the epoch. DynamoDB deletes late, so every read looks itself. */
const alive = (item: Item | undefined, clock: Clock): boolean =>
  item !== undefined && !(typeof item['ttl'] === 'number' && item['ttl'] * 1000 <= clock.now());

const isConditionFailure = (error: unknown): boolean =>
  error instanceof Error && error.name === 'ConditionalCheckFailedException';

const chunks = <T>(items: readonly T[], size: number): T[][] =>
  Array.from({ length: Math.ceil(items.length / size) }, (_, index) => items.slice(index * size, (index + 1) * size));

/** What sends requests to DynamoDB. */
export type Sender = Pick<DynamoDBDocumentClient, 'send'>;

/** Sends until the signal aborts; then it fails with the signal's reason, whatever was under way included. */
export function until(signal: AbortSignal, doc: Sender): Sender {
  async function send(command: never): Promise<unknown> {
    signal.throwIfAborted();
    try {
      return await doc.send(command, { abortSignal: signal });
    } catch (error) {
      signal.throwIfAborted();
      throw error;
    }
  }
  return { send: send as Sender['send'] };
}

export type Table = ReturnType<typeof openTable>;

/**
 * One table, by keys that only `keys.ts` makes. There is no Scan.
 *
 * A conditional write carries its writer (`w`). When the SDK retries a write whose answer was lost, the condition fails on
 * the write's own effect; finding its own `w` there, the write knows that it was done.
 */
export function openTable(doc: Sender, TableName: string, clock: Clock) {
  async function get<T extends Item>(key: Key, consistent = true): Promise<T | null> {
    const { Item: item } = await doc.send(
      new GetCommand({ TableName, Key: { PK: key.PK, SK: key.SK }, ConsistentRead: consistent }),
    );
    return alive(item, clock) ? (item as T) : null;
  }

  async function conditional<T extends Item>(key: Key, write: (writer: string) => Promise<T>): Promise<WriteResult<T>> {
    const writer = ulid(clock.now());
    try {
      return { done: true, item: await write(writer) };
    } catch (error) {
      if (!isConditionFailure(error)) throw error;
      const current = await get<T>(key);
      return current?.['w'] === writer ? { done: true, item: current } : { done: false, current };
    }
  }

  /** Stores a whole row if the condition holds for what stands there now. */
  const replace = <T extends Item>(key: Key, row: Item, ...conditions: readonly Condition[]): Promise<WriteResult<T>> =>
    conditional<T>(key, async (w) => {
      const bind = createBindings();
      const Item = { ...row, PK: key.PK, SK: key.SK, w };
      const ConditionExpression = allOf(...conditions)(bind);
      await doc.send(new PutCommand({ TableName, Item, ConditionExpression, ...bind.parameters() }));
      return Item as unknown as T;
    });

  /** Stores a row where there is none, or one whose time is over and that DynamoDB has not deleted yet. */
  const create = <T extends Item>(key: Key, row: Item): Promise<WriteResult<T>> =>
    replace<T>(key, row, anyOf(absent('PK'), below('ttl', Math.floor(clock.now() / 1000) + 1)));

  async function put(key: Key, row: Item): Promise<void> {
    await doc.send(new PutCommand({ TableName, Item: { ...row, PK: key.PK, SK: key.SK } }));
  }

  const sendUpdate = async <T extends Item>(
    key: Key,
    changes: Changes,
    conditions: readonly Condition[],
    ReturnValues: ReturnValue,
  ) => {
    const bind = createBindings();
    const { Attributes } = await doc.send(
      new UpdateCommand({
        TableName,
        Key: { PK: key.PK, SK: key.SK },
        UpdateExpression: updateExpression(changes, bind),
        ...(conditions.length > 0 && { ConditionExpression: allOf(...conditions)(bind) }),
        ReturnValues,
        ...bind.parameters(),
      }),
    );
    return Attributes as T;
  };

  /** Changes a row if the condition holds, and returns it as it is then. */
  const update = <T extends Item>(key: Key, changes: Changes, ...conditions: readonly Condition[]) =>
    conditional<T>(key, (w) => sendUpdate(key, { ...changes, set: { ...changes.set, w } }, conditions, 'ALL_NEW'));

  /** Sets attributes of a row if the condition holds, and returns it as it was before; null where that is not known any more. */
  async function exchange<T extends Item>(key: Key, set: Item, ...conditions: readonly Condition[]) {
    let before: T | null = null;
    const result = await conditional<T>(key, async (w) => {
      before = await sendUpdate<T>(key, { set: { ...set, w } }, conditions, 'ALL_OLD');
      return { ...before, ...set, w };
    });
    return { ...result, before: before as T | null };
  }

  /** Removes a row, if the conditions hold for what stands there. */
  async function remove(key: Key, ...conditions: readonly Condition[]): Promise<void> {
    const bind = createBindings();
    const ConditionExpression = conditions.length > 0 ? { ConditionExpression: allOf(...conditions)(bind) } : {};
    const input = { TableName, Key: { PK: key.PK, SK: key.SK }, ...ConditionExpression, ...bind.parameters() };
    await doc.send(new DeleteCommand(input)).catch((error: unknown) => {
      if (!isConditionFailure(error)) throw error;
    });
  }

  function queryInput(query: Query, start?: Record<string, unknown>): QueryCommandInput {
    const bind = createBindings();
    const [pk, sk] = query.index ? [`${query.index}PK`, `${query.index}SK`] : ['PK', 'SK'];
    const conditions: string[] = [`${bind.name(pk)} = ${bind.value(query.PK)}`];
    if (query.prefix) conditions.push(`begins_with(${bind.name(sk)}, ${bind.value(query.prefix)})`);
    if (query.between) {
      const [from, to] = query.between;
      conditions.push(`${bind.name(sk)} BETWEEN ${bind.value(from)} AND ${bind.value(to)}`);
    }
    if (query.after) conditions.push(`${bind.name(sk)} > ${bind.value(query.after)}`);
    if (query.before) conditions.push(`${bind.name(sk)} < ${bind.value(query.before)}`);
    return {
      TableName,
      KeyConditionExpression: conditions.join(' AND '),
      ScanIndexForward: !query.descending,
      ...(query.index ? { IndexName: query.index } : { ConsistentRead: true }),
      ...(query.filter && { FilterExpression: query.filter(bind) }),
      ...(query.keysOnly && { ProjectionExpression: `${bind.name('PK')}, ${bind.name('SK')}` }),
      ...(query.limit && { Limit: query.limit }),
      ...(start && { ExclusiveStartKey: start }),
      ...bind.parameters(),
    };
  }

  /** One request of a query: the rows it found, and where the next one begins; null at the query's end. */
  async function page<T extends Item>(query: Query, start: Record<string, unknown> | null = null) {
    const { Items = [], LastEvaluatedKey } = await doc.send(new QueryCommand(queryInput(query, start ?? undefined)));
    return { rows: Items.filter((item) => alive(item, clock)) as T[], next: LastEvaluatedKey ?? null };
  }

  /** The rows of a query, page by page as they are read. `limit` is the size of a page, not of the result. */
  async function* rows<T extends Item>(query: Query): AsyncGenerator<T> {
    let start: Record<string, unknown> | null = null;
    do {
      const read: { rows: T[]; next: Record<string, unknown> | null } = await page<T>(query, start);
      yield* read.rows;
      start = read.next;
    } while (start);
  }

  /** The first `count` rows of a query. */
  async function take<T extends Item>(query: Query, count: number): Promise<T[]> {
    const found: T[] = [];
    for await (const row of rows<T>({ limit: count, ...query })) {
      found.push(row);
      if (found.length >= count) break;
    }
    return found;
  }

  /** Sends batches until nothing is left unprocessed, waiting longer each time nothing was processed at all. */
  async function untilProcessed<T>(
    all: readonly T[],
    size: number,
    send: (batch: readonly T[]) => Promise<readonly T[]>,
  ) {
    let left: readonly T[] = all;
    for (let tries = 0; left.length > 0;) {
      const before = left.length;
      left = (await Promise.all(chunks(left, size).map(send))).flat();
      tries = left.length < before ? 0 : tries + 1;
      if (tries === BATCH_TRIES) throw new Error(`DynamoDB left ${left.length} rows of a batch unprocessed.`);
      if (tries > 0) await sleep(clock, Math.random() * BATCH_BACKOFF_MS * 2 ** tries);
    }
  }

  const nameOf = (key: { readonly PK: string; readonly SK: string }) => `${key.PK}\n${key.SK}`;

  /** One entry for each key, in the same order; null where there is no row. */
  async function getMany<T extends Item>(keys: readonly Key[], ConsistentRead = false): Promise<readonly (T | null)[]> {
    const found = new Map<string, T>();
    const wanted = new Map(keys.map((key) => [nameOf(key), { PK: key.PK, SK: key.SK }]));
    await untilProcessed([...wanted.values()], BATCH_GET_KEYS, async (Keys) => {
      const answer = await doc.send(
        new BatchGetCommand({ RequestItems: { [TableName]: { Keys: [...Keys], ConsistentRead } } }),
      );
      for (const item of answer.Responses?.[TableName] ?? []) {
        if (alive(item, clock)) found.set(nameOf(item as T & Key), item as T);
      }
      return (answer.UnprocessedKeys?.[TableName]?.Keys ?? []) as { PK: string; SK: string }[];
    });
    return keys.map((key) => found.get(nameOf(key)) ?? null);
  }

  async function removeMany(keys: readonly Key[]): Promise<void> {
    await untilProcessed(keys, BATCH_WRITE_ROWS, async (batch) => {
      const requests = batch.map(({ PK, SK }) => ({ DeleteRequest: { Key: { PK, SK } } }));
      const answer = await doc.send(new BatchWriteCommand({ RequestItems: { [TableName]: requests } }));
      return (answer.UnprocessedItems?.[TableName] ?? []).flatMap(
        ({ DeleteRequest }) => (DeleteRequest?.Key as Key) ?? [],
      );
    });
  }

  return { get, create, replace, put, update, exchange, remove, page, rows, take, getMany, removeMany };
}
