import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { DynamoDBDocumentClient } from '@aws-sdk/lib-dynamodb';
import { NodeHttpHandler } from '@smithy/node-http-handler';
import type { Clock } from '../../kernel/clock.ts';
import { createCursors, type Cursors } from '../../tenancy/cursor.ts';
import { PLATFORM, type TenantId } from '../../tenancy/tenant-id.ts';
import { createAuditTrails } from './audit-store.ts';
import { createConversationStore, type TenantRows } from './conversation-store.ts';
import { tenantKeys } from './keys.ts';
import { createMessageStore } from './message-store.ts';
import { createParkedWorkStore } from './parked-work-store.ts';
import { createDueHours } from './period-store.ts';
import { createQuotaStore } from './quota-store.ts';
import { openTable } from './table.ts';
import { createTables, enableTimeToLive, pingTable, type TableNames } from './tables.ts';
import { createTenantDirectory } from './tenant-directory.ts';
import { createDueWorkStore, createTurnStore, newHolder } from './turn-store.ts';
import { createUsageStore } from './usage-store.ts';
import { createSessionStore, createUserStore } from './user-store.ts';

/** A request as it is sent or answered, and the table it is to. */
export interface DynamoDbRequest {
  readonly operation: string;
  readonly table: string;
  readonly phase: 'sent' | 'answered';
}

export interface DynamoDbOptions {
  readonly region: string;
  /** Another address than AWS's own: the embedded engine, DynamoDB Local, Alternator. */
  readonly endpoint?: string;
  /** Left out: found the way every AWS SDK finds them. */
  readonly credentials?: { readonly accessKeyId: string; readonly secretAccessKey: string };
  /** Tries of one request; more where the engine may have to be restarted first. */
  readonly maxAttempts?: number;
  readonly tablePrefix: string;
  readonly cursorSecret: string;
  readonly clock: Clock;
  /** Told of every request when it is sent and when it is answered. */
  readonly onRequest?: (request: DynamoDbRequest) => void;
}

/** DynamoDB answers in milliseconds: what takes seconds will not come, and the SDK tries again. */
const CONNECTION_TIMEOUT_MS = 3_000;
const REQUEST_TIMEOUT_MS = 10_000;
const SOCKETS_MAX = 128;

export type DynamoDb = ReturnType<typeof createDynamoDb>;
export type TenantData = ReturnType<DynamoDb['forTenant']>;

function createClient({ region, endpoint, credentials, maxAttempts = 3, onRequest }: DynamoDbOptions): DynamoDBClient {
  const agent = { keepAlive: true, maxSockets: SOCKETS_MAX };
  const client = new DynamoDBClient({
    region,
    maxAttempts,
    requestHandler: new NodeHttpHandler({
      connectionTimeout: CONNECTION_TIMEOUT_MS,
      requestTimeout: REQUEST_TIMEOUT_MS,
      throwOnRequestTimeout: true,
      httpAgent: new HttpAgent(agent),
      httpsAgent: new HttpsAgent(agent),
    }),
    ...(endpoint && { endpoint }),
    ...(credentials && { credentials }),
  });
  if (onRequest) {
    client.middlewareStack.add(
      (next, { commandName }) =>
        async (args) => {
          const request = { operation: commandName ?? '', table: tableOf(args.input) };
          onRequest({ ...request, phase: 'sent' });
          try {
            return await next(args);
          } finally {
            onRequest({ ...request, phase: 'answered' });
          }
        },
      { step: 'initialize', name: 'observe' },
    );
  }
  return client;
}

/** The one table a request is to; a batch names it otherwise. */
function tableOf(input: object): string {
  const { TableName, RequestItems = {} } = input as { readonly TableName?: string; readonly RequestItems?: object };
  return TableName ?? Object.keys(RequestItems)[0] ?? '';
}

/** The stores on DynamoDB. A tenant's are made for that tenant, by `forTenant`, and take no tenant after that. */
export function createDynamoDb(options: DynamoDbOptions) {
  const { tablePrefix, clock, cursorSecret } = options;
  const client = createClient(options);
  const names: TableNames = { app: `${tablePrefix}app`, usage: `${tablePrefix}usage`, audit: `${tablePrefix}audit` };
  const doc = DynamoDBDocumentClient.from(client, { marshallOptions: { removeUndefinedValues: true } });
  const app = openTable(doc, names.app, clock);
  const usage = openTable(doc, names.usage, clock);
  const audit = createAuditTrails(openTable(doc, names.audit, clock));
  const holder = newHolder(clock.now());
  const markedHours = new Set<string>();

  function forTenant(tenantId: TenantId) {
    const keys = tenantKeys(tenantId);
    const rows: TenantRows = { tenantId, table: app, keys };
    const cursors: Cursors = createCursors(cursorSecret, tenantId);
    return {
      cursors,
      audit: audit.of(tenantId),
      conversations: createConversationStore(rows, cursors, clock),
      messages: createMessageStore(rows, clock),
      turns: createTurnStore(rows, holder),
      parkedWork: createParkedWorkStore(rows, cursors),
      users: createUserStore(rows),
      sessions: createSessionStore(rows),
      usage: createUsageStore({ tenantId, table: usage, keys }, markedHours, clock),
      quota: createQuotaStore({ tenantId, table: usage, keys }),
    };
  }

  return {
    forTenant,
    audit,
    tenants: createTenantDirectory(app, createCursors(cursorSecret, PLATFORM)),
    due: createDueWorkStore(app),
    dueHours: createDueHours(usage),
    createTables: () => createTables(client, names),
    enableTimeToLive: () => enableTimeToLive(client, names),
    ping: () => pingTable(client, names.app),
    close: () => client.destroy(),
  };
}
