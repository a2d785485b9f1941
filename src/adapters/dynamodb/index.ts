import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { DynamoDBDocumentClient } from '@aws-sdk/lib-dynamodb';
import { NodeHttpHandler } from '@smithy/node-http-handler';
import type { Clock } from '../../kernel/clock.ts';
import { createCursors, type Cursors } from '../../tenancy/cursor.ts';
import { PLATFORM, type TenantId } from '../../tenancy/tenant-id.ts';
import type { UsageRetention } from '../../usage/ports.ts';
import { createAllRows } from './all-rows.ts';
import { createAlertStore, createDueAlerts } from './alert-store.ts';
import { createApiKeyStore } from './api-key-store.ts';
import { createAuditTrails } from './audit-store.ts';
import { createExternalUserStore } from './external-user-store.ts';
import { createIssuerDirectory } from './issuer-directory.ts';
import { createIssuerStore } from './issuer-store.ts';
import { createConversationStore, type TenantRows } from './conversation-store.ts';
import { tenantKeys } from './keys.ts';
import { createMessageStore } from './message-store.ts';
import { createOperationStore } from './operation-store.ts';
import { createOperationUsageStore } from './operation-usage-store.ts';
import { createParkedWorkStore } from './parked-work-store.ts';
import { createDueHours } from './period-store.ts';
import { createPasswordStore } from './password-store.ts';
import { createQuotaStore } from './quota-store.ts';
import { createRemovalStore } from './removal-store.ts';
import { openTable, until, type Sender } from './table.ts';
import { createTables, enableTimeToLive, pingTable, type TableNames } from './tables.ts';
import { createTenantDirectory } from './tenant-directory.ts';
import { createDueWorkStore, createTurnStore, newHolder } from './turn-store.ts';
import { createUsageStore } from './usage-store.ts';
import { createUserDirectory } from './user-directory.ts';
import { createWebhookStore } from './webhook-store.ts';
import { createSessionStore, createUserStore } from './user-store.ts';

/** A request as it is sent or answered, and the table it is to. */
export interface DynamoDbRequest {
  readonly operation: string;
  readonly table: string;
  /** The index it reads; null for the table itself. */
  readonly index: string | null;
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
  /** Left out: all usage is kept. */
  readonly usageRetention?: UsageRetention;
  /** Told of every request when it is sent and when it is answered. */
  readonly onRequest?: (request: DynamoDbRequest) => void;
}

/** DynamoDB answers in milliseconds: what takes seconds will not come, and the SDK tries again. */
const CONNECTION_TIMEOUT_MS = 3_000;
const REQUEST_TIMEOUT_MS = 10_000;
const SOCKETS_MAX = 128;

const forEver = () => Infinity;
const KEEP_ALL: UsageRetention = { eventUntil: forEver, sumsUntil: forEver, closableUntil: forEver };

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
          const request = { operation: commandName ?? '', table: tableOf(args.input), index: indexOf(args.input) };
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

const indexOf = (input: object): string | null => (input as { readonly IndexName?: string }).IndexName ?? null;

/** The one table a request is to; a batch names it otherwise. */
function tableOf(input: object): string {
  const { TableName, RequestItems = {} } = input as { readonly TableName?: string; readonly RequestItems?: object };
  return TableName ?? Object.keys(RequestItems)[0] ?? '';
}

/** The stores on DynamoDB. A tenant's are made for that tenant, by `forTenant`, and take no tenant after that. */
export function createDynamoDb(options: DynamoDbOptions) {
  const { tablePrefix, clock, cursorSecret, usageRetention: kept = KEEP_ALL } = options;
  const client = createClient(options);
  const names: TableNames = { app: `${tablePrefix}app`, usage: `${tablePrefix}usage`, audit: `${tablePrefix}audit` };
  const doc = DynamoDBDocumentClient.from(client, { marshallOptions: { removeUndefinedValues: true } });
  const openTables = (to: Sender) => ({
    app: openTable(to, names.app, clock),
    usage: openTable(to, names.usage, clock),
    audit: createAuditTrails(openTable(to, names.audit, clock)),
  });
  const tables = openTables(doc);
  const holder = newHolder(clock.now());
  const markedHours = new Set<string>();

  /** With a signal nothing more is asked of DynamoDB once it has aborted: for what only reads. */
  function forTenant(tenantId: TenantId, signal?: AbortSignal) {
    const { app, usage, audit } = signal ? openTables(until(signal, doc)) : tables;
    const keys = tenantKeys(tenantId);
    const rows: TenantRows = { tenantId, table: app, keys };
    const cursors: Cursors = createCursors(cursorSecret, tenantId);
    return {
      cursors,
      audit: audit.of(tenantId),
      conversations: createConversationStore(rows, cursors, clock),
      messages: createMessageStore(rows, clock),
      turns: createTurnStore(rows, holder),
      parkedWork: createParkedWorkStore(rows, [app, usage], cursors),
      users: createUserStore(rows),
      passwords: createPasswordStore(rows, clock),
      userDirectory: createUserDirectory(rows, cursors, clock),
      sessions: createSessionStore(rows),
      apiKeys: createApiKeyStore(rows),
      issuers: createIssuerStore(rows),
      externalUsers: createExternalUserStore(rows, clock),
      operations: createOperationStore(rows),
      operationUsage: createOperationUsageStore(rows, clock),
      usage: createUsageStore({ tenantId, table: usage, keys }, { marked: markedHours, clock, kept }),
      quota: createQuotaStore({ tenantId, table: usage, keys }),
      alerts: createAlertStore({ tenantId, table: usage, keys }, cursors, clock),
      webhook: createWebhookStore(rows),
    };
  }

  return {
    forTenant,
    audit: tables.audit,
    tenants: createTenantDirectory(tables.app, createCursors(cursorSecret, PLATFORM)),
    issuers: createIssuerDirectory(tables.app),
    removals: createRemovalStore(tables.app, holder),
    allRows: createAllRows(
      doc,
      Object.values(names).map((name: string) => ({ name, table: openTable(doc, name, clock) })),
    ),
    due: createDueWorkStore(tables.app),
    dueHours: createDueHours(tables.usage),
    dueAlerts: createDueAlerts(tables.usage),
    createTables: () => createTables(client, names),
    enableTimeToLive: () => enableTimeToLive(client, names),
    ping: () => pingTable(client, names.app),
    close: () => client.destroy(),
  };
}
