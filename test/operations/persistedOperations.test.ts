import { ApolloClient, gql, HttpLink, InMemoryCache } from '@apollo/client';
import { PersistedQueryLink } from '@apollo/client/link/persisted-queries';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { operationIdOf } from '../../src/partners/operation-id.ts';
import { FLUSH_EVERY_MS } from '../../src/partners/usage.ts';
import { RECHECK_EVERY_MS } from '../../src/server/rechecks.ts';
import { createTestClock } from '../support/clock.ts';
import { GRAPHQL_RESPONSE, rawHttp } from '../support/raw-http.ts';
import { openSocket } from '../support/raw-socket.ts';
import { ENDLESS, startTurn } from '../support/turns.ts';
import { startWorld, type Caller, type World } from '../support/world.ts';

const PUBLISH = `mutation($operations: [PersistedOperationInput!]!) {
  publishOperations(operations: $operations) { operations { id name body publishedAt } newCount }
}`;
const UNPUBLISH = `mutation($ids: [ID!]!) { unpublishOperations(ids: $ids) { unpublishedIds count } }`;
const SUNSET = `mutation($ids: [ID!]!, $at: DateTime) {
  sunsetOperations(ids: $ids, at: $at) { operations { id deprecatedAt sunsetAt } }
}`;
const LIST = `{ persistedOperations { id name body publishedAt deprecatedAt sunsetAt valid problems } }`;
const HOLD = `mutation($id: ID!, $to: ApiKeyEnforcement!) {
  setApiKeyEnforcement(id: $id, enforcement: $to) { apiKey { enforcement } secret }
}`;

const of = (body: string) => ({ id: operationIdOf(body), body });
const WHO = of('query Who { viewer { id } tenant { id } }');
const START = of(
  'mutation Start($title: String) { createConversation(input: { title: $title }) { conversation { id } } }',
);
const SEND = of(`mutation Send($id: ID!, $text: String!) {
  sendMessage(input: { conversationId: $id, content: $text }) { assistantMessage { id } }
}`);
const FOLLOW = of('subscription Follow($id: ID!) { messageStream(messageId: $id) { __typename sequence } }');
const ALL = [WHO, START, SEND, FOLLOW];
const UNKNOWN = operationIdOf('nothing');
const TEXT = 'query Mine { viewer { id } }';

const clock = createTestClock(Date.now());
let world: World;
let partner: Awaited<ReturnType<World['createPartner']>>;
beforeAll(async () => {
  world = await startWorld({ clock });
  await world.acme.admin.run(PUBLISH, { operations: ALL });
  partner = await world.createPartner(world.acme.admin, { enforcement: 'ENFORCE' });
});
afterAll(() => world.stop());

const http = () => rawHttp(world.url);
const apq = (id: string) => ({ persistedQuery: { version: 1, sha256Hash: id } });
const json = encodeURIComponent;

/** Every way in which an id is sent. */
const WAYS = {
  'POST with documentId': ({ headers }: Caller, id: string, variables: object = {}) =>
    http().send({ headers, body: { documentId: id, variables } }),
  'POST as Apollo Client and urql do': ({ headers }: Caller, id: string, variables: object = {}) =>
    http().send({ headers, body: { variables, extensions: apq(id) } }),
  'GET with documentId': ({ headers }: Caller, id: string, variables: object = {}) =>
    http().get(`/graphql?documentId=${json(id)}&variables=${json(JSON.stringify(variables))}`, {
      ...{ ...headers, 'apollo-require-preflight': 'true' },
    }),
  'GET as Apollo Client and urql do': ({ headers }: Caller, id: string, variables: object = {}) =>
    http().get(`/graphql?variables=${json(JSON.stringify(variables))}&extensions=${json(JSON.stringify(apq(id)))}`, {
      ...headers,
      'apollo-require-preflight': 'true',
    }),
} as const;

/** The first answer over a WebSocket, in the shape of one over HTTP. */
async function overSocket({ headers }: Caller, payload: object) {
  const socket = await openSocket(world.wsUrl);
  await socket.init({ ...headers });
  socket.send({ type: 'subscribe', id: '1', payload: { query: '', ...payload } });
  const { type, payload: answer } = await socket.next();
  socket.socket.close();
  return type === 'error' ? { code: answer[0].extensions.code, message: answer[0].message } : { body: answer };
}

/** All that comes as server-sent events. */
async function overSse({ headers }: Caller, body: object) {
  const answer = await http().send({ headers: { ...headers, accept: 'text/event-stream' }, body });
  return [...answer.text.matchAll(/^data: (.+)$/gm)].map(([, data = '']) => JSON.parse(data));
}

describe('publishOperations', () => {
  it('ok, again without a change; the list has them, newest first, with their bodies', async () => {
    const { admin } = world.acme;
    await clock.advance(1);
    const later = of('query Later { agents { id } }');
    const { data } = await admin.run(PUBLISH, { operations: [WHO, { ...later, id: `sha256:${later.id}` }] });
    expect(data.publishOperations).toMatchObject({
      ...{
        operations: [
          { id: WHO.id, name: 'Who', body: WHO.body },
          { id: later.id, name: 'Later' },
        ],
        newCount: 1,
      },
    });
    const [first, ...others] = (await admin.run(LIST)).data.persistedOperations as readonly Record<string, unknown>[];
    expect(first).toMatchObject({ ...later, name: 'Later', sunsetAt: null, valid: true, problems: [] });
    expect(others.map(({ id }) => id)).toEqual(expect.arrayContaining(ALL.map(({ id }) => id)));
  });

  it('BAD_USER_INPUT names everything that is wrong, and nothing is published', async () => {
    const operations = [of('query Fine { agents { id } }'), of('query Bad { agent }'), { ...WHO, id: UNKNOWN }];
    const refused = await world.acme.admin.run(PUBLISH, { operations });
    expect(refused.errors[0]?.extensions).toMatchObject({ code: 'BAD_USER_INPUT', field: 'operations' });
    expect(refused.errors[0]?.message).toMatch(/Bad: Cannot query field "agent".*\n- Who: its id is not/);
    expect(JSON.stringify((await world.acme.admin.run(LIST)).data)).not.toContain('Fine');
  });

  it('FORBIDDEN for anybody but an administrator; in the audit trail by the number of operations', async () => {
    const free = await world.createPartner(world.acme.admin);
    for (const who of [world.acme.member, free, world.operator.with({ 'x-tenant-id': 'acme' })])
      expect((await who.run(PUBLISH, { operations: ALL })).code).toBe('FORBIDDEN');
    await world.product.recorded();
    const query = `{ auditLog(filter: { action: "operations.publish", result: SUCCESS }) { nodes { resource details } } }`;
    const { data } = await world.acme.admin.run(query);
    expect(data.auditLog.nodes).toContainEqual({ resource: 'operation', details: { newCount: 4 } });
  });
});

describe('persistedOperations', () => {
  it.each(Object.keys(WAYS) as (keyof typeof WAYS)[])('are run by their ids: %s', async (way) => {
    for (const id of [WHO.id, `sha256:${WHO.id}`, WHO.id.toUpperCase()]) {
      const answer = await WAYS[way](partner, id);
      expect([answer.status, answer.body.data]).toEqual([200, { viewer: { id: partner.id }, tenant: { id: 'acme' } }]);
    }
  });

  it('are run by Apollo Client with its persisted query link, which never sends their text', async () => {
    const sent: string[] = [];
    const link = new PersistedQueryLink({ generateHash: () => WHO.id }).concat(
      new HttpLink({
        uri: `${world.url}/graphql`,
        headers: partner.headers,
        fetch: (uri, init) => {
          sent.push(typeof init?.body === 'string' ? init.body : '');
          return fetch(uri, init);
        },
      }),
    );
    const client = new ApolloClient({ link, cache: new InMemoryCache() });
    const { data } = await client.query<{ viewer: { id: string } }>({ query: gql(WHO.body) });
    expect(data?.viewer.id).toBe(partner.id);
    expect(sent).toHaveLength(1);
    expect(sent[0]).not.toContain('viewer');
    client.stop();
  });

  it('are run over a WebSocket and as server-sent events, subscriptions too', async () => {
    const started = await WAYS['POST with documentId'](partner, START.id, { title: 'By id' });
    const id = started.body.data.createConversation.conversation.id as string;
    const sent = await overSocket(partner, { extensions: apq(SEND.id), variables: { id, text: 'Hello' } });
    const messageId = sent.body.data.sendMessage.assistantMessage.id as string;
    const followed = await overSocket(partner, { extensions: apq(FOLLOW.id), variables: { id: messageId } });
    expect(followed.body.data.messageStream.sequence).toBe(1);
    const events = await overSse(partner, { documentId: FOLLOW.id, variables: { id: messageId } });
    expect(events[0].data.messageStream.sequence).toBe(1);
    expect(events.at(-1).data.messageStream.__typename).toBe('MessageCompleted');
    expect((await overSse(partner, { extensions: apq(WHO.id) }))[0].data.viewer.id).toBe(partner.id);
    expect((await overSse(partner, { query: TEXT }))[0].errors[0].extensions.code).toBe('PERSISTED_OPERATION_REQUIRED');
    const named = await overSocket(partner, { documentId: WHO.id });
    expect(named.body.data.viewer.id).toBe(partner.id);
  });

  it('are all that a key runs: a document of its own is PERSISTED_OPERATION_REQUIRED, whatever it says, and nothing is read for it', async () => {
    const { headers } = partner;
    await WAYS['POST with documentId'](partner, WHO.id);
    await clock.advance(0);
    const refused: (string | undefined)[] = [];
    const requests = await world.requestsOf(async () => {
      for (const query of [
        TEXT,
        WHO.body,
        '{',
        'mutation { signOut(refreshToken: "x") }',
        '{ __schema { description } }',
      ])
        refused.push((await http().send({ headers, body: { query, operationName: 'Mine' } })).code);
      refused.push(
        (await http().get(`/graphql?query=${json(TEXT)}`, { ...headers, 'apollo-require-preflight': '1' })).code,
      );
      refused.push((await overSocket(partner, { query: TEXT })).code);
    });
    expect(refused).toEqual(refused.map(() => 'PERSISTED_OPERATION_REQUIRED'));
    expect(requests).toEqual([]);
    const accept = { ...headers, accept: GRAPHQL_RESPONSE };
    expect((await http().send({ headers: accept, body: { query: TEXT } })).status).toBe(400);
    expect((await http().send({ headers, body: { query: TEXT } })).status).toBe(200);
  });

  it('unknown, ended, not the key’s own, or another tenant’s: PERSISTED_OPERATION_NOT_FOUND, in the same words', async () => {
    const own = await world.createPartner(world.acme.admin, { enforcement: 'ENFORCE', operationIds: [WHO.id] });
    const [gone, theirs] = [of('query Gone { agents { id } }'), of('query Theirs { agents { id } }')];
    await world.acme.admin.run(PUBLISH, { operations: [gone] });
    await world.globex.admin.run(PUBLISH, { operations: [theirs] });
    await world.acme.admin.run(SUNSET, { ids: [gone.id], at: new Date(clock.now() + 1_000) });
    await clock.advance(1_000);
    const said = new Set<string>();
    const hear = (answer: { body?: { errors?: { message: string }[] }; code?: string | undefined; message?: string }) =>
      said.add(JSON.stringify([answer.code, answer.message ?? answer.body?.errors?.[0]?.message]));
    for (const way of Object.values(WAYS)) {
      for (const id of [UNKNOWN, gone.id, theirs.id, 'no id', '']) hear(await way(partner, id));
      hear(await way(own, START.id));
    }
    for (const id of [UNKNOWN, gone.id, theirs.id, 'no id']) hear(await overSocket(partner, { extensions: apq(id) }));
    // With a text beside it, too: nothing is registered by sending it.
    hear(await http().send({ headers: partner.headers, body: { query: TEXT, extensions: apq(operationIdOf(TEXT)) } }));
    for (const hash of [undefined, null, 7, {}])
      hear(
        await http().send({ headers: partner.headers, body: { extensions: { persistedQuery: { sha256Hash: hash } } } }),
      );
    expect([...said]).toEqual([
      JSON.stringify(['PERSISTED_OPERATION_NOT_FOUND', 'There is no published operation of this id.']),
    ]);
    expect((await WAYS['POST with documentId'](own, WHO.id)).body.data.viewer.id).toBe(own.id);
  });

  it('are for everybody of the tenant who knows an id; others send texts as before', async () => {
    const byId = WAYS['POST with documentId'];
    expect((await byId(world.acme.member, WHO.id)).body.data.viewer.id).toBe(world.acme.member.id);
    const acting = world.operator.with({ 'x-tenant-id': 'acme' });
    expect((await byId(acting, WHO.id)).body.data.tenant.id).toBe('acme');
    expect((await byId(world.operator, WHO.id)).code).toBe('TENANT_REQUIRED');
    expect((await byId(world.globex.member, WHO.id)).code).toBe('PERSISTED_OPERATION_NOT_FOUND');
    expect((await byId(world.acme.member, UNKNOWN)).code).toBe('PERSISTED_OPERATION_NOT_FOUND');
    expect(await byId(world.nobody, WHO.id)).toMatchObject({ status: 401, code: 'UNAUTHENTICATED' });
    expect(await byId(world.caller('no token'), WHO.id)).toMatchObject({ status: 401, code: 'UNAUTHENTICATED' });
    const apqWay = WAYS['POST as Apollo Client and urql do'];
    expect((await apqWay(world.acme.member, WHO.id)).body.data.viewer.id).toBe(world.acme.member.id);
    for (const who of [world.acme.member, world.nobody])
      expect((await apqWay(who, UNKNOWN)).code).toBe('PERSISTED_QUERY_NOT_SUPPORTED');
  });

  it('keep every other rule: role, scope, variables, GET without mutations, subscriptions not over POST', async () => {
    const reader = await world.createPartner(world.acme.admin, { enforcement: 'ENFORCE', scopes: ['READ'] });
    const [post, get] = [WAYS['POST with documentId'], WAYS['GET with documentId']];
    expect((await post(reader, START.id)).code).toBe('FORBIDDEN');
    expect((await post(partner, SEND.id, { id: 'x' })).code).toBe('BAD_USER_INPUT');
    expect(await get(partner, START.id)).toMatchObject({ status: 405 });
    expect((await post(partner, FOLLOW.id, { id: 'x' })).code).toBe('BAD_REQUEST');
  });

  it('a refusal is in the audit trail', async () => {
    await world.product.recorded();
    const query = `query($filter: AuditFilter) { auditLog(filter: $filter) { nodes { action result details } } }`;
    const { data } = await world.acme.admin.run(query, { filter: { actorId: partner.id, action: 'operation.run' } });
    expect(data.auditLog.nodes).toContainEqual({
      ...{ action: 'operation.run', result: 'FAILURE', details: { code: 'PERSISTED_OPERATION_REQUIRED' } },
    });
  });
});

describe('what a key did', () => {
  it('is shown by operation, and for a key that is not held to them yet, what would be refused', async () => {
    const held = await world.createPartner(world.acme.admin, { enforcement: 'ENFORCE' });
    const free = await world.createPartner(world.acme.admin, { enforcement: 'LOG_ONLY', operationIds: [WHO.id] });
    for (const way of Object.values(WAYS)) await way(held, WHO.id);
    await overSocket(held, { extensions: apq(WHO.id) });
    await WAYS['POST with documentId'](held, SEND.id, { id: 'x', text: 'y' });
    await WAYS['POST with documentId'](held, UNKNOWN);
    await free.run(TEXT);
    await free.run(TEXT);
    await free.run('{ tenant {');
    await WAYS['POST with documentId'](free, WHO.id);
    await WAYS['POST with documentId'](free, START.id);
    await clock.advance(FLUSH_EVERY_MS);
    const query = `query($id: ID!) { node(id: $id) { ... on ApiKey {
      usage { operationId name calls errors wouldBeRefused averageLatencyMs latencyMs { p50 p99 } lastUsedAt }
    } } }`;
    const usageOf = async ({ id }: { readonly id: string }) =>
      ((await world.acme.admin.run(query, { id })).data.node.usage as readonly Record<string, unknown>[]).map(
        ({ operationId, name, calls, errors, wouldBeRefused }) => [operationId, name, calls, errors, wouldBeRefused],
      );
    await expect.poll(async () => (await usageOf(free)).length).toBe(4);
    expect((await usageOf(held)).sort()).toEqual(
      [
        [SEND.id, 'Send', 1, 1, 0],
        [WHO.id, 'Who', 5, 0, 0],
      ].sort(),
    );
    expect((await usageOf(free)).sort()).toEqual(
      [
        [WHO.id, 'Who', 1, 0, 0],
        [START.id, 'Start', 1, 0, 1],
        [operationIdOf(TEXT), 'Mine', 2, 0, 2],
        [operationIdOf('{ tenant {'), '', 1, 1, 1],
      ].sort(),
    );
  });
});

describe('sunsetOperations', () => {
  it('announces the end in every answer: by Deprecation and Sunset, and over a WebSocket beside the answer', async () => {
    const ending = of('query Ending { viewer { id } }');
    await world.acme.admin.run(PUBLISH, { operations: [ending] });
    const before = await WAYS['POST with documentId'](partner, ending.id);
    expect([before.headers.get('deprecation'), before.headers.get('sunset')]).toEqual([null, null]);
    const at = '2099-12-31T23:59:59.000Z';
    const { data } = await world.acme.admin.run(SUNSET, { ids: [ending.id], at });
    const deprecatedAt = new Date(clock.now()).toISOString();
    expect(data.sunsetOperations.operations).toEqual([{ id: ending.id, deprecatedAt, sunsetAt: at }]);
    for (const way of Object.values(WAYS)) {
      const { headers } = await way(partner, ending.id);
      expect(headers.get('deprecation')).toBe(`@${Math.floor(clock.now() / 1000)}`);
      expect(headers.get('sunset')).toBe('Thu, 31 Dec 2099 23:59:59 GMT');
    }
    const { body } = await overSocket(partner, { extensions: apq(ending.id) });
    const [event] = await overSse(partner, { documentId: ending.id });
    for (const { extensions } of [body, event]) expect(extensions.sunset).toEqual({ deprecatedAt, sunsetAt: at });
  });

  it('NOT_FOUND for what is not published, BAD_USER_INPUT for a time that is over', async () => {
    const { admin } = world.acme;
    expect((await admin.run(SUNSET, { ids: [UNKNOWN], at: '2099-01-01T00:00:00Z' })).code).toBe('NOT_FOUND');
    expect((await admin.run(SUNSET, { ids: [WHO.id], at: '2020-01-01T00:00:00Z' })).code).toBe('BAD_USER_INPUT');
  });
});

describe('unpublishOperations', () => {
  it('ok: found no more at once here; what is not published does not matter', async () => {
    const brief = of('query Brief { agents { id } }');
    await world.acme.admin.run(PUBLISH, { operations: [brief] });
    expect((await WAYS['POST with documentId'](partner, brief.id)).status).toBe(200);
    const { data } = await world.acme.admin.run(UNPUBLISH, { ids: [brief.id, UNKNOWN] });
    expect(data.unpublishOperations).toEqual({ unpublishedIds: [brief.id], count: 1 });
    expect((await WAYS['POST with documentId'](partner, brief.id)).code).toBe('PERSISTED_OPERATION_NOT_FOUND');
    expect((await world.acme.member.run(UNPUBLISH, { ids: [WHO.id] })).code).toBe('FORBIDDEN');
  });

  it('ends them for whoever follows one, also while nothing happens; the socket stays', async () => {
    const follow = of(`${FOLLOW.body} # of a release that goes`);
    await world.acme.admin.run(PUBLISH, { operations: [follow] });
    const free = await world.createPartner(world.acme.admin);
    const { answerId } = await startTurn(free, await free.createConversation(), ENDLESS);
    await world.acme.admin.run(HOLD, { id: free.id, to: 'ENFORCE' });
    const socket = await openSocket(world.wsUrl);
    await socket.init({ ...free.headers });
    socket.send({
      ...{ type: 'subscribe', id: 'a' },
      payload: { query: '', documentId: follow.id, variables: { id: answerId } },
    });
    expect((await socket.next()).payload.data.messageStream.sequence).toBe(1);
    await world.acme.admin.run(UNPUBLISH, { ids: [follow.id] });
    await clock.advance(RECHECK_EVERY_MS);
    const told = await socket.until('complete');
    expect(told.at(-2)?.payload.errors[0].extensions.code).toBe('PERSISTED_OPERATION_NOT_FOUND');
    expect(socket.socket.readyState).toBe(socket.socket.OPEN);
    socket.socket.close();
    await world.acme.admin.run(HOLD, { id: free.id, to: 'LOG_ONLY' });
    const cancel = 'mutation($id: ID!) { cancelMessage(input: { messageId: $id }) { message { status } } }';
    expect((await free.run(cancel, { id: answerId })).errors).toEqual([]);
  });
});

describe('setApiKeyEnforcement', () => {
  it('ok: a key that is not held to them yet runs anything its role may, and one of its own id too', async () => {
    const key = await world.createPartner(world.acme.admin, { enforcement: 'ENFORCE', operationIds: [WHO.id] });
    expect((await key.run(TEXT)).code).toBe('PERSISTED_OPERATION_REQUIRED');
    const { data } = await world.acme.admin.run(HOLD, { id: key.id, to: 'LOG_ONLY' });
    expect(data.setApiKeyEnforcement).toEqual({ apiKey: { enforcement: 'LOG_ONLY' }, secret: null });
    expect((await key.run(TEXT)).data).toEqual({ viewer: { id: key.id } });
    expect((await WAYS['POST with documentId'](key, START.id)).body.data.createConversation).toBeDefined();
    expect((await WAYS['POST with documentId'](key, UNKNOWN)).code).toBe('PERSISTED_OPERATION_NOT_FOUND');
    // A client that tries the id first is told to send the text.
    expect((await WAYS['POST as Apollo Client and urql do'](key, UNKNOWN)).code).toBe('PERSISTED_QUERY_NOT_SUPPORTED');
    expect((await overSocket(key, { query: TEXT })).body.data).toEqual({ viewer: { id: key.id } });
    await world.acme.admin.run(HOLD, { id: key.id, to: 'ENFORCE' });
    expect((await key.run(TEXT)).code).toBe('PERSISTED_OPERATION_REQUIRED');
  });

  it('NOT_FOUND in another tenant, FORBIDDEN for members', async () => {
    expect((await world.globex.admin.run(HOLD, { id: partner.id, to: 'LOG_ONLY' })).code).toBe('NOT_FOUND');
    expect((await world.acme.member.run(HOLD, { id: partner.id, to: 'LOG_ONLY' })).code).toBe('FORBIDDEN');
  });
});
