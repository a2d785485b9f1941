import { BatchWriteItemCommand, DynamoDBClient, type AttributeValue } from '@aws-sdk/client-dynamodb';
import { tenantKeys, type Key } from '../../src/adapters/dynamodb/keys.ts';
import { ulid, ulidTime } from '../../src/kernel/ids.ts';
import { parseTenantId } from '../../src/tenancy/tenant-id.ts';
import type { ServiceCalls, UsageEvent } from '../../src/usage/model.ts';
import { periodName } from '../../src/usage/periods.ts';
import { testConfig } from './world.ts';

const BATCH_ROWS = 25;
const BATCHES_AT_ONCE = 8;

/** The calls of one service in a turn, all of them to one thing. */
export function aService(
  latenciesMs: readonly number[],
  { failures = 0, name = 'A', results = 0 }: { failures?: number; name?: string | null; results?: number } = {},
): ServiceCalls {
  const calls = latenciesMs.length;
  const latencyMs = latenciesMs.reduce((sum, ms) => sum + ms, 0);
  const targets = calls === 0 ? [] : [{ name, calls, failures, measured: calls, latencyMs, results }];
  return { calls, failures, latenciesMs, targets };
}

/** A turn that began at this time, and used every service. */
export const aTurn = (atMs: number, more: Partial<Extract<UsageEvent, { kind: 'TURN' }>> = {}): UsageEvent => ({
  kind: 'TURN',
  turnId: ulid(atMs),
  conversationId: 'conv-01ARZ3NDEKTSV4RRFFQ69G5FAV',
  userId: 'user-01ARZ3NDEKTSV4RRFFQ69G5FAV',
  agentId: 'support',
  modelId: 'amazon.nova-lite-v1:0',
  first: true,
  status: 'COMPLETED',
  errorCode: null,
  attempts: 1,
  aliasId: 'ALSUPPORT1',
  inputTokens: 120,
  outputTokens: 30,
  estimatedTokens: 0,
  models: [],
  priceVersion: null,
  latencyMs: 900,
  firstTextMs: 200,
  requestIds: ['7f1c8a52-0000-4000-8000-000000000001'],
  traces: 6,
  traceIds: ['7f1c8a52-0000-4000-8000-000000000001-0', '7f1c8a52-0000-4000-8000-000000000001-1'],
  sessionId: 'acme:conv-01ARZ3NDEKTSV4RRFFQ69G5FAV',
  signInId: '01ARZ3NDEKTSV4RRFFQ69G5FAV',
  memory: aService([]),
  knowledgeBase: aService([12, 30.5], { failures: 1, name: 'KBSUPPORT1', results: 5 }),
  actionGroup: aService([7], { name: 'Orders' }),
  ...more,
});

/** How a table spells a value. */
export function attribute(value: unknown): AttributeValue {
  if (value === null) return { NULL: true };
  if (Array.isArray(value)) return { L: value.map(attribute) };
  switch (typeof value) {
    case 'string':
      return { S: value };
    case 'number':
      return { N: String(value) };
    case 'boolean':
      return { BOOL: value };
    default:
      return { M: attributes(value as object) };
  }
}
const attributes = (row: object): Record<string, AttributeValue> =>
  Object.fromEntries(Object.entries(row).map(([name, value]) => [name, attribute(value)]));

/** The name of an event's row, as the store gives it. */
export const rowId = (event: UsageEvent): string => {
  if (event.kind === 'SIGN_IN') return event.id;
  return event.kind === 'LATE_TOKENS' ? `${event.turnId}.late` : event.turnId;
};

/** Writes events as the store would have, many at a time: recording each of them would take minutes. */
export async function loadUsage(endpoint: string, tenant: string, events: Iterable<UsageEvent>): Promise<void> {
  const { region, tablePrefix } = testConfig();
  const client = new DynamoDBClient({ region, endpoint });
  const keys = tenantKeys(parseTenantId(tenant)!);
  const table = `${tablePrefix}usage`;
  const hours = new Set<string>();

  function* rows(): Generator<Record<string, AttributeValue>> {
    for (const event of events) {
      const hour = periodName('HOUR', ulidTime(rowId(event)));
      hours.add(hour);
      yield rowOf(keys.usageEvent(hour, rowId(event)), { ...event, v: 2 });
    }
    for (const hour of hours) yield rowOf(keys.usagePeriod('HOUR', hour), {});
  }
  const rowOf = ({ PK, SK }: Key, row: object) => attributes({ ...row, PK, SK, w: 'loaded' });

  function* batches() {
    let batch: Record<string, AttributeValue>[] = [];
    for (const row of rows()) {
      batch.push(row);
      if (batch.length < BATCH_ROWS) continue;
      yield batch;
      batch = [];
    }
    if (batch.length > 0) yield batch;
  }
  const left = batches();
  const worker = async () => {
    for (const batch of left) {
      const requests = batch.map((Item) => ({ PutRequest: { Item } }));
      const { UnprocessedItems = {} } = await client.send(
        new BatchWriteItemCommand({ RequestItems: { [table]: requests } }),
      );
      if (Object.keys(UnprocessedItems).length > 0) throw new Error('The engine left rows unprocessed.');
    }
  };
  await Promise.all(Array.from({ length: BATCHES_AT_ONCE }, worker));
  client.destroy();
}
