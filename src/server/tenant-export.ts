import type { ConversationStore, MessageStore } from '../conversations/ports.ts';
import type { ExportSource, OrderOf } from '../exports/model.ts';
import type { IssuerService } from '../federation/service.ts';
import type { Clock } from '../kernel/clock.ts';
import { badInput } from '../kernel/errors.ts';
import { PAGE_SIZE_MAX, type Page, type PageRequest } from '../kernel/page.ts';
import { pieces } from '../kernel/pieces.ts';
import type { OperationStore } from '../partners/ports.ts';
import type { Tenant } from '../tenants/model.ts';
import { DAY_MS } from '../usage/periods.ts';
import type { UsageService } from '../usage/service.ts';
import type { TenantData } from './bind-tenant.ts';

/** Messages read at the same time: large ones are 400 KB each. */
const MESSAGES_AT_ONCE = 20;
/** Before the first day of any trail, and after the last one. */
const [FIRST_DAY, LAST_DAY] = ['00000000', '99999999'];
/** Days whose sums are read together. */
const DAYS_AT_ONCE = 365;
const LAST_MOMENT = Date.UTC(9999, 0);

export interface TenantExportDependencies {
  readonly tenant: Tenant;
  readonly data: Pick<
    TenantData,
    | 'userDirectory'
    | 'apiKeys'
    | 'operations'
    | 'operationUsage'
    | 'alerts'
    | 'conversations'
    | 'messages'
    | 'usage'
    | 'usageEvents'
    | 'audit'
  >;
  readonly issuers: Pick<IssuerService, 'get'>;
  readonly clock: Clock;
}

/** Everything of a list, page by page. */
async function* all<T>(page: (cursor: string | null) => Promise<Page<T>>): AsyncGenerator<T> {
  let next: string | null = null;
  do {
    const { nodes, pageInfo }: Page<T> = await page(next);
    yield* nodes;
    next = pageInfo.hasNextPage ? pageInfo.endCursor : null;
  } while (next !== null);
}

/**
 * Oldest activity first: one that becomes active meanwhile comes once more at the end, where from the other side it would be passed by.
 */
async function* allConversations(store: ConversationStore) {
  let cursor: string | null = null;
  do {
    const request: PageRequest = { direction: 'backward', size: PAGE_SIZE_MAX, cursor };
    const { nodes, pageInfo } = await store.list({ ownerId: null, agentId: null }, request);
    yield* nodes.toReversed();
    cursor = pageInfo.hasPreviousPage ? pageInfo.startCursor : null;
  } while (cursor !== null);
}

async function* allMessages(store: MessageStore, conversationId: string, count: number) {
  for (let from = 1; from <= count; from += MESSAGES_AT_ONCE)
    yield* await store.range(conversationId, from, from + MESSAGES_AT_ONCE - 1);
}

async function* allOperations(store: OperationStore) {
  const { operations } = await store.index();
  for (const operation of operations.values()) {
    const [body] = await store.bodies([operation]);
    yield { ...operation, body };
  }
}

/** The sums of all days on which something was asked: they are kept for longer than their events. */
async function* allDays(usage: Pick<UsageService, 'series'>, { createdAt }: Tenant, nowMs: number) {
  const first = Math.floor(Date.parse(createdAt) / DAY_MS) * DAY_MS;
  for (let from = first; from < nowMs; from += DAYS_AT_ONCE * DAY_MS) {
    const end = new Date(Math.min(from + DAYS_AT_ONCE * DAY_MS, nowMs));
    const points = await usage.series({ start: new Date(from), end, bucket: 'DAY', timeZone: 'UTC' });
    yield* points.filter(({ turns }) => turns !== 0);
  }
}

/** Everything a tenant owns, each with what it is; nothing secret, nor a hash of it. */
async function* everything({ tenant, data, issuers, clock }: TenantExportDependencies) {
  const {
    userDirectory,
    apiKeys,
    operations,
    operationUsage,
    alerts,
    conversations,
    messages,
    usage,
    usageEvents,
    audit,
  } = data;
  yield { type: 'tenant', data: tenant };
  yield { type: 'identityIssuers', data: await issuers.get() };
  yield { type: 'usageAlertSettings', data: await alerts.settings() };
  const users = (cursor: string | null) => userDirectory.page({ direction: 'forward', size: PAGE_SIZE_MAX, cursor });
  for await (const user of all(users)) yield { type: 'user', data: user };
  for (const { secretHash: _secret, ...apiKey } of await apiKeys.list()) {
    yield { type: 'apiKey', data: apiKey };
    for (const counts of await operationUsage.list(apiKey.id))
      yield { type: 'operationUsage', data: { keyId: apiKey.id, ...counts } };
  }
  for await (const operation of allOperations(operations)) yield { type: 'operation', data: operation };
  for await (const conversation of allConversations(conversations)) {
    yield { type: 'conversation', data: conversation };
    for await (const message of allMessages(messages, conversation.id, conversation.messageCount))
      yield { type: 'message', data: message };
  }
  const pageOfAlerts = (after: string | null) => alerts.list({ first: PAGE_SIZE_MAX, after });
  for await (const alert of all(pageOfAlerts)) yield { type: 'usageAlert', data: alert };
  for await (const day of allDays(usage, tenant, clock.now())) yield { type: 'usageDay', data: day };
  for await (const { id, event } of usageEvents.ordered({ startMs: 0, endMs: LAST_MOMENT, after: null }))
    yield { type: 'usageEvent', data: { id, ...event } };
  for (const day of (await audit.days(FIRST_DAY, LAST_DAY)).toReversed())
    for await (const { entry } of audit.ofDay(day)) yield { type: 'auditEntry', data: entry };
}

/** Everything there is of a tenant as JSON Lines. */
export function createTenantExport(deps: TenantExportDependencies): ExportSource<OrderOf<'tenant'>> {
  async function* lines() {
    for await (const line of everything(deps)) yield `${JSON.stringify(line)}\n`;
  }
  return {
    check: () => {},
    text(_order, after) {
      if (after !== null) throw badInput('An export of everything begins at its beginning.', 'after');
      return pieces(lines());
    },
  };
}
