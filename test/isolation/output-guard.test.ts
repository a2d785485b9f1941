import { getDirective } from '@graphql-tools/utils';
import { buildSchema, getNamedType, isAbstractType, isObjectType, type GraphQLNamedType } from 'graphql';
import { afterAll, beforeAll, describe, expect, it, test } from 'vitest';
import type { AlertSettings, UsageAlert } from '../../src/alerts/model.ts';
import type { TenantServices } from '../../src/context.ts';
import type { Conversation, Message, StreamEvent } from '../../src/conversations/model.ts';
import { pageOf } from '../../src/kernel/page.ts';
import { readTypeDefs } from '../../src/server/schema.ts';
import type { TenantId } from '../../src/tenancy/tenant-id.ts';
import { summaryOf as emptySummary } from '../../src/usage/summary.ts';
import { emptyTally } from '../../src/usage/tally.ts';
import { FOREIGN, OWN, principalOf, startBoundApi, tenantOf } from '../support/bound-api.ts';
import type { ParkedWork } from '../../src/parked/model.ts';
import type { ApiKey, PersistedOperation } from '../../src/partners/model.ts';
import type { TenantIssuers } from '../../src/federation/model.ts';
import type { UserAccount } from '../../src/users/model.ts';

const AT = '2026-11-20T12:00:00.000Z';
const ULID = '01ARZ3NDEKTSV4RRFFQ69G5FAV';
const OWN_NUMBER = 424_242;
/** Stands in every text of an object, so that it cannot get out unseen. */
const wordOf = (owner: TenantId | null) => (owner === OWN ? 'OWN-WORD' : 'FOREIGN-WORD');

/** An object that says whose it is, or with `null` nothing of the kind. */
const owned = <T extends { tenantId: TenantId }>(owner: TenantId | null, object: Omit<T, 'tenantId'>): T =>
  (owner === null ? object : { tenantId: owner, ...object }) as T;

const conversationOf = (owner: TenantId | null): Conversation =>
  owned<Conversation>(owner, {
    id: `conv-${ULID}`,
    title: wordOf(owner),
    agentId: 'support',
    agentName: 'Support',
    ownerId: `user-${ULID}`,
    ownerName: 'Ada',
    createdAt: AT,
    updatedAt: AT,
    version: 1,
    messageCount: 2,
  });

const messageOf = (owner: TenantId | null): Message =>
  owned<Message>(owner, {
    id: `msg-${ULID}-2`,
    conversationId: `conv-${ULID}`,
    sequence: 2,
    role: 'ASSISTANT',
    status: 'COMPLETED',
    content: wordOf(owner),
    ownerId: `user-${ULID}`,
    agentId: 'support',
    agentName: 'Support',
    citations: [],
    error: null,
    usage: null,
    createdAt: AT,
    completedAt: AT,
    lastEvent: 1,
  });

function summaryOf(owner: TenantId | null) {
  const period = { tenantId: OWN, start: AT, end: AT };
  const total = emptySummary(period, emptyTally(), () => Promise.resolve([]));
  const agent = { agentId: wordOf(owner), invocations: 1, averageLatencyMs: 1, errorRate: 0, tokens: total.tokens };
  const { tenantId: _, ...rest } = total;
  return owned<typeof total>(owner, { ...rest, byAgent: [agent] });
}

const userUsage = (owner: TenantId | null) => owned(owner, { userId: `user-${ULID}`, turns: OWN_NUMBER });

const alertOf = (owner: TenantId | null) => owned<UsageAlert>(owner, { ...ANY_ALERT, period: wordOf(owner) });
const ANY_ALERT: Omit<UsageAlert, 'tenantId' | 'period'> = {
  ...{ id: `alert-${ULID}`, limit: 'TOKENS_PER_DAY', percentage: 80, limitTokens: 1, usedTokens: 1, at: AT },
  delivery: { state: 'NONE', attempts: 0, nextAttemptAt: null, deliveredAt: null, lastError: null },
};
const settingsOf = (owner: TenantId | null) =>
  owned<AlertSettings>(owner, { percentages: [80], webhookUrl: wordOf(owner), webhookSetAt: AT });

const accountOf = (owner: TenantId | null) =>
  owned<UserAccount>(owner, {
    ...{ id: `user-${ULID}`, name: wordOf(owner), email: 'ada@x.example', roles: ['MEMBER'] },
    ...{ status: 'ACTIVE', issuer: null, createdAt: AT },
  });
const keyOf = (owner: TenantId | null) =>
  owned<ApiKey>(owner, { id: 'key', name: wordOf(owner), prefix: 'ak' } as never);
const operationOf = (owner: TenantId | null) =>
  owned<PersistedOperation>(owner, { id: 'operation', name: wordOf(owner) } as never);
const issuersOf = (owner: TenantId | null) => {
  const claims = { userClaim: 'sub', emailClaim: 'email', nameClaim: 'name', rolesClaim: 'groups' };
  const issuer = { issuer: wordOf(owner), audiences: [], tenantClaim: null, ...claims, roles: [], defaultRole: null };
  return owned<TenantIssuers>(owner, { issuers: [issuer], version: 1 });
};
const parkedOf = (owner: TenantId | null) =>
  owned<ParkedWork>(owner, { id: wordOf(owner), kind: 'TURN', parkedAt: AT, conversationId: null });

/** What a service returns may be wrong in each of these places. */
type Lie =
  | ('find' | 'findMessage' | 'list' | 'messages' | 'lastMessage' | 'create' | 'rename')
  | ('sentQuestion' | 'sentAnswer' | 'sentIn' | 'cancel' | 'summary' | 'tenant')
  | ('COMPLETED' | 'FAILED' | 'CANCELLED' | 'live' | 'series' | 'byUser' | 'ownUsage' | 'trail')
  | ('alerts' | 'settings' | 'percentages' | 'webhook' | 'parked' | 'users' | 'invited' | 'disabled')
  | ('keys' | 'revoked' | 'operations' | 'published' | 'ended')
  | ('issuers' | 'issuersSet');

/** Services of `OWN`, honest but for one place, in which they return what is somebody else's. */
function servicesWith(lie: Lie | null, owner: TenantId | null): TenantServices {
  const whose = (place: Lie) => (place === lie ? owner : OWN);
  const edges = <T>(...nodes: T[]) => nodes.map((node, index) => ({ cursor: `c${index}`, node }));
  const more = { hasNextPage: false, hasPreviousPage: false };
  async function* events(): AsyncGenerator<StreamEvent> {
    await Promise.resolve();
    for (const type of ['COMPLETED', 'FAILED', 'CANCELLED'] as const) {
      yield { sequence: 1, type, message: messageOf(whose(type)) };
    }
  }
  const entries = () => [OWN, whose('trail')].map((owner) => owned(owner, { action: `ACTION-${OWN_NUMBER}` }));
  const services = {
    scope: { tenantId: OWN, principal: principalOf() },
    tenant: tenantOf(lie === 'tenant' ? FOREIGN : OWN),
    conversations: {
      find: (id: string) => Promise.resolve(id.startsWith('conv') ? conversationOf(whose('find')) : null),
      findMessage: () => Promise.resolve(messageOf(whose('findMessage'))),
      list: () => Promise.resolve(pageOf(edges(conversationOf(OWN), conversationOf(whose('list'))), more)),
      messages: () => Promise.resolve(pageOf(edges(messageOf(OWN), messageOf(whose('messages'))), more)),
      lastMessage: () => Promise.resolve(messageOf(whose('lastMessage'))),
      create: () => Promise.resolve(conversationOf(whose('create'))),
      rename: () => Promise.resolve(conversationOf(whose('rename'))),
    },
    turns: {
      send: () =>
        Promise.resolve({
          userMessage: messageOf(whose('sentQuestion')),
          assistantMessage: messageOf(whose('sentAnswer')),
          conversation: conversationOf(whose('sentIn')),
        }),
      cancel: () => Promise.resolve(messageOf(whose('cancel'))),
      watch: () => Promise.resolve(events()),
    },
    async *liveUsage() {
      await Promise.resolve();
      yield owned(whose('live'), { activeGenerations: OWN_NUMBER });
    },
    parkedWork: () => Promise.resolve(pageOf(edges(parkedOf(OWN), parkedOf(whose('parked'))), more)),
    users: {
      list: () => Promise.resolve(pageOf(edges(accountOf(OWN), accountOf(whose('users'))), more)),
      invite: () => Promise.resolve({ user: accountOf(whose('invited')), token: 'pt', expiresAt: AT }),
      disable: () => Promise.resolve(accountOf(whose('disabled'))),
    },
    apiKeys: {
      list: () => Promise.resolve([keyOf(OWN), keyOf(whose('keys'))]),
      revoke: () => Promise.resolve(keyOf(whose('revoked'))),
    },
    operations: {
      list: () => Promise.resolve([operationOf(OWN), operationOf(whose('operations'))]),
      publish: () => Promise.resolve({ operations: [operationOf(whose('published'))], newCount: 1 }),
      sunset: () => Promise.resolve([operationOf(whose('ended'))]),
    },
    issuers: {
      get: () => Promise.resolve(issuersOf(whose('issuers'))),
      set: () => Promise.resolve(issuersOf(whose('issuersSet'))),
    },
    audit: { list: () => Promise.resolve(pageOf(edges(...entries()), more)) },
    usage: {
      topUsers: () => Promise.resolve([userUsage(OWN), userUsage(whose('byUser'))]),
      ofUser: () => Promise.resolve(userUsage(whose('ownUsage'))),
      summary: () => Promise.resolve(summaryOf(whose('summary'))),
      series: () => Promise.resolve([owned(OWN, { turns: OWN_NUMBER }), owned(whose('series'), { turns: OWN_NUMBER })]),
    },
    alerts: {
      list: () => Promise.resolve(pageOf(edges(alertOf(OWN), alertOf(whose('alerts'))), more)),
      settings: () => Promise.resolve(settingsOf(whose('settings'))),
      setPercentages: () => Promise.resolve(settingsOf(whose('percentages'))),
      setWebhook: () => Promise.resolve({ settings: settingsOf(whose('webhook')), secret: null }),
    },
  };
  return services as unknown as TenantServices;
}

const MESSAGE = `{ id content }`;
const CONVERSATION = `{ id title }`;
const inMessage = (selection: string) => `{ message(id: "msg-${ULID}-2") { ${selection} } }`;
const inConversation = (selection: string) => `{ conversation(id: "conv-${ULID}") { ${selection} } }`;
const send = (selection: string) =>
  `mutation { sendMessage(input: { conversationId: "conv-${ULID}", content: "Hi" }) { ${selection} } }`;
const stream = (type: string) =>
  `subscription { messageStream(messageId: "msg-${ULID}-2") { sequence ... on ${type} { message ${MESSAGE} } } }`;

/** Every field that shows an owned object, and the place at which its service may lie. */
const CASES: readonly (readonly [coordinate: string, lie: Lie, query: string, shown?: string])[] = [
  ['Query.conversation', 'find', inConversation('id title')],
  ['Query.message', 'findMessage', inMessage('id content')],
  ['Query.node', 'find', `{ node(id: "conv-${ULID}") { id ... on Conversation ${CONVERSATION} } }`],
  ['Query.node', 'findMessage', `{ node(id: "msg-${ULID}-2") { id ... on Message ${MESSAGE} } }`],
  [
    'Query.usageSummary',
    'summary',
    `{ usageSummary(start: "${AT}", end: "${AT}") { byAgent { agent { name } tokens { totalTokens } } } }`,
  ],
  ['Query.persistedOperations', 'operations', '{ persistedOperations { id name } }'],
  [
    'PublishOperationsPayload.operations',
    'published',
    'mutation { publishOperations(operations: []) { operations { id name } } }',
  ],
  ['SunsetOperationsPayload.operations', 'ended', 'mutation { sunsetOperations(ids: []) { operations { id name } } }'],
  ['ConversationConnection.nodes', 'list', `{ conversations { nodes ${CONVERSATION} } }`],
  ['ConversationEdge.node', 'list', `{ conversations { edges { node ${CONVERSATION} } } }`],
  ['Conversation.lastMessage', 'lastMessage', inConversation(`lastMessage ${MESSAGE}`)],
  ['MessageConnection.nodes', 'messages', inConversation(`messages { nodes ${MESSAGE} }`)],
  ['MessageEdge.node', 'messages', inConversation(`messages { edges { node ${MESSAGE} } }`)],
  ['Message.conversation', 'find', inMessage(`conversation ${CONVERSATION}`)],
  [
    'ConversationPayload.conversation',
    'create',
    `mutation { createConversation(input: {}) { conversation ${CONVERSATION} } }`,
  ],
  [
    'ConversationPayload.conversation',
    'rename',
    `mutation { renameConversation(input: { conversationId: "x", title: "y" }) { conversation ${CONVERSATION} } }`,
  ],
  ['SendMessagePayload.userMessage', 'sentQuestion', send(`userMessage ${MESSAGE}`)],
  ['SendMessagePayload.assistantMessage', 'sentAnswer', send(`assistantMessage ${MESSAGE}`)],
  ['SendMessagePayload.conversation', 'sentIn', send(`conversation ${CONVERSATION}`)],
  ['MessagePayload.message', 'cancel', `mutation { cancelMessage(input: { messageId: "x" }) { message ${MESSAGE} } }`],
  ['MessageCompleted.message', 'COMPLETED', stream('MessageCompleted')],
  ['MessageFailed.message', 'FAILED', stream('MessageFailed')],
  ['MessageCancelled.message', 'CANCELLED', stream('MessageCancelled')],
  ['UsageAlertConnection.nodes', 'alerts', '{ usageAlerts { nodes { id period } } }'],
  ['UsageAlertEdge.node', 'alerts', '{ usageAlerts { edges { node { id period } } } }'],
  ['Query.apiKeys', 'keys', '{ apiKeys { name } }'],
  ['ApiKeyPayload.apiKey', 'revoked', 'mutation { revokeApiKey(id: "key") { apiKey { name } } }'],
  ['Query.identityIssuers', 'issuers', '{ identityIssuers { issuers { issuer } } }'],
  [
    'Mutation.setIdentityIssuers',
    'issuersSet',
    'mutation { setIdentityIssuers(input: { issuers: [] }) { issuers { issuer } } }',
  ],
  ['Query.usageAlertSettings', 'settings', '{ usageAlertSettings { webhookUrl } }'],
  ['Mutation.setUsageAlertPercentages', 'percentages', 'mutation { setUsageAlertPercentages { webhookUrl } }'],
  ['UsageWebhookPayload.settings', 'webhook', 'mutation { setUsageWebhook { settings { webhookUrl } } }'],
  ['AuditEntryConnection.nodes', 'trail', '{ auditLog { nodes { action } } }', `ACTION-${OWN_NUMBER}`],
  ['AuditEntryEdge.node', 'trail', '{ auditLog { edges { node { action } } } }', `ACTION-${OWN_NUMBER}`],
  ['ParkedWorkConnection.nodes', 'parked', '{ parkedWork { nodes { id } } }'],
  ['ParkedWorkEdge.node', 'parked', '{ parkedWork { edges { node { id } } } }'],
  ['UserAccountConnection.nodes', 'users', '{ users { nodes { name } } }'],
  ['UserAccountEdge.node', 'users', '{ users { edges { node { name } } } }'],
  [
    'PasswordTokenPayload.user',
    'invited',
    'mutation { inviteUser(input: { email: "x@x.example", name: "x", roles: [MEMBER] }) { user { name } } }',
  ],
  ['UserAccountPayload.user', 'disabled', `mutation { disableUser(userId: "user-${ULID}") { user { name } } }`],
  // Of these nothing is text.
  [
    'UsageSummary.byUser',
    'byUser',
    `{ usageSummary(start: "${AT}", end: "${AT}") { byUser { turns } } }`,
    String(OWN_NUMBER),
  ],
  ['Viewer.usage', 'ownUsage', `{ viewer { usage(start: "${AT}", end: "${AT}") { turns } } }`, String(OWN_NUMBER)],
  [
    'Query.usageTimeSeries',
    'series',
    `{ usageTimeSeries(start: "${AT}", end: "${AT}", bucket: DAY) { turns } }`,
    String(OWN_NUMBER),
  ],
  ['Subscription.liveUsage', 'live', 'subscription { liveUsage { activeGenerations } }', String(OWN_NUMBER)],
];

let services = servicesWith(null, null);
let api: Awaited<ReturnType<typeof startBoundApi>>;
beforeAll(async () => {
  // Whoever may do everything, so that nothing but the guard stands between them and what the services return.
  const principal = { ...principalOf(), roles: ['TENANT_ADMIN', 'PLATFORM_OPERATOR'] } as const;
  api = await startBoundApi({ bindTenant: () => Promise.resolve(services), principal });
});
afterAll(() => api.stop());

type Results = Awaited<ReturnType<typeof api.run>>[];

async function overSocket(query: string): Promise<Results> {
  const results: Results = [];
  for await (const result of api.stream(query)) results.push(result);
  return results;
}

const isSubscription = (query: string) => query.startsWith('subscription');
const overHttp = async (query: string): Promise<Results> => [await api.run(query)];

/** It says that something went wrong, and to whom it can be told; what it was is in the log alone. */
function expectMasked(results: Results, coordinate: string) {
  const errors = results.flatMap(({ errors = [] }) => errors);
  expect(errors.map(({ extensions }) => extensions['code'])).toEqual(['INTERNAL']);
  const requestId = errors[0]?.extensions['requestId'];
  expect(requestId).toEqual(expect.any(String));
  expect(JSON.stringify(results)).not.toContain('FOREIGN');
  expect(JSON.stringify(results)).not.toContain(FOREIGN);
  const logged = api.logLines.filter((line) => line.requestId === requestId).map((line) => JSON.stringify(line));
  expect(logged).toContainEqual(
    expect.stringContaining(`${coordinate} was about to return an object of another tenant`),
  );
}

test('the cases below are every field of the schema that can show an owned object', () => {
  const schema = buildSchema(readTypeDefs().join('\n'));
  const isOwned = (type: GraphQLNamedType): boolean =>
    isAbstractType(type)
      ? schema.getPossibleTypes(type).some(isOwned)
      : getDirective(schema, type, 'tenantOwned') !== undefined;
  const coordinates = Object.values(schema.getTypeMap())
    .filter((type) => isObjectType(type))
    .flatMap((type) =>
      Object.values(type.getFields())
        .filter((field) => isOwned(getNamedType(field.type)))
        .map((field) => `${type.name}.${field.name}`),
    );
  expect([...new Set(CASES.map(([coordinate]) => coordinate))].sort()).toEqual(coordinates.sort());
});

const SHOWN = CASES.map(([coordinate, lie, query, shown = 'OWN-WORD']) => [coordinate, lie, query, shown] as const);

describe.each(SHOWN)('%s (%s)', (coordinate, lie, query, shown) => {
  const ways = isSubscription(query) ? ['WebSocket'] : ['HTTP', 'WebSocket'];
  const over = (way: string) => (way === 'HTTP' ? overHttp(query) : overSocket(query));

  test.each(ways)('shows an object of the own tenant over %s', async (way) => {
    services = servicesWith(null, null);
    const results = await over(way);
    expect(results.flatMap(({ errors = [] }) => errors)).toEqual([]);
    expect(JSON.stringify(results)).toContain(shown);
  });

  test.each(ways)('never lets out an object of another tenant over %s', async (way) => {
    services = servicesWith(lie, FOREIGN);
    expectMasked(await over(way), coordinate);
  });

  test.each(ways)('never lets out an object that does not say whose it is over %s', async (way) => {
    services = servicesWith(lie, null);
    expectMasked(await over(way), coordinate);
  });
});

describe('beyond single objects', () => {
  it('holds back another tenant that `node` would show under the id of the own one', async () => {
    services = servicesWith('tenant', null);
    expectMasked(await overHttp(`{ node(id: "${FOREIGN}") { id ... on Tenant { name } } }`), 'Query.node');
  });

  it('holds back a whole page for one foreign row in it, and shows the other fields of the request', async () => {
    services = servicesWith('list', FOREIGN);
    const { data } = await api.run(`{ viewer { name } one: conversation(id: "conv-${ULID}") { title } }`);
    expect(data).toEqual({ viewer: { name: 'Ada' }, one: { title: 'OWN-WORD' } });
    expectMasked(await overHttp(`{ conversations { nodes { title } } }`), 'ConversationConnection.nodes');
  });

  it('ends a subscription whose one event was held back: its reader would not know that it is missing', async () => {
    services = servicesWith('COMPLETED', FOREIGN);
    const results = await overSocket(`subscription { messageStream(messageId: "x") {
      ... on MessageCompleted { a: message { content } } ... on MessageFailed { b: message { content } }
      ... on MessageCancelled { c: message { content } } } }`);
    expect(results.map(({ data }) => data)).toEqual([null]);
  });
});
