import { createHash } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { demoApiKey } from '../../src/local/demo-data.ts';
import { createTestClock, settle } from '../support/clock.ts';
import { rawHttp } from '../support/raw-http.ts';
import { openSocket } from '../support/raw-socket.ts';
import { startWorld, testConfig, type World } from '../support/world.ts';

const PER_MINUTE = 60;
const TIMEOUT_MS = 5_000;
const { operationLimits, jwt } = testConfig();
const clock = createTestClock(Date.now());
/** Called before DynamoDB is asked for a page of conversations. */
let onRequest: () => void = () => {};

let world: World;
beforeAll(async () => {
  world = await startWorld({
    clock,
    config: {
      jwt: { ...jwt, accessTtlMs: 86_400_000 },
      operationLimits: {
        ...operationLimits,
        pointsPerMinute: PER_MINUTE,
        timeoutMs: TIMEOUT_MS,
      },
    },
  });
  const { requests } = world;
  const push = requests.push.bind(requests);
  requests.push = (...added) => {
    if (added.some(({ phase, index }) => phase === 'sent' && index === 'gsi1')) onRequest();
    return push(...added);
  };
});
afterAll(() => world.stop());

const QUERY = '{ agents { id } }'; // 1 + the root + 10 agents

describe('the points of a tenant', () => {
  it('are charged by cost, said in every answer, and come back with time', async () => {
    const { acme } = world;
    const first = await acme.member.run('{ tenant { id } }');
    expect(first.errors).toEqual([]);
    const cost = async () => {
      const response = await fetch(`${world.url}/graphql`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...acme.member.headers },
        body: JSON.stringify({ query: QUERY }),
      });
      return ((await response.json()) as { extensions: { cost: object } }).extensions.cost;
    };
    expect(await cost()).toMatchObject({ points: 12, ceiling: 5_000, budget: { limit: PER_MINUTE, remaining: 45 } });
    for (let n = 0; n < 3; n++) expect(await cost()).toMatchObject({ budget: { remaining: 33 - 12 * n } });
    const refused = await acme.member.run(QUERY);
    expect(refused).toMatchObject({ status: 429, code: 'RATE_LIMITED' });
    expect(refused.errors[0]?.extensions).toMatchObject({ limit: PER_MINUTE, remaining: 9, retryAfterMs: 3_000 });
    await clock.advance(3_000);
    expect((await acme.member.run(QUERY)).errors).toEqual([]);
  });

  it('that others have used up are not those of the administrator, nor of another tenant', async () => {
    for (let n = 0; n < 5; n++) await world.acme.member.run(QUERY);
    expect((await world.acme.member.run(QUERY)).code).toBe('RATE_LIMITED');
    expect((await world.acme.admin.run(QUERY)).errors).toEqual([]);
    expect((await world.globex.member.run(QUERY)).errors).toEqual([]);
  });

  it('are no shield: an administrator can always revoke a key that floods', async () => {
    await clock.advance(60_000);
    const { admin } = world.acme;
    const create = 'mutation($i: CreateApiKeyInput!) { createApiKey(input: $i) { apiKey { id } secret } }';
    const { data } = await admin.run(create, { i: { name: 'Flood', scopes: ['READ'], enforcement: 'LOG_ONLY' } });
    const partner = world.caller(null, { 'x-api-key': data.createApiKey.secret });
    const flood = await Promise.all(Array.from({ length: 20 }, () => partner.run(QUERY)));
    expect(flood.filter(({ code }) => code === undefined)).toHaveLength(5);
    expect(flood.filter(({ code }) => code === 'RATE_LIMITED')).toHaveLength(15);
    const revoke = 'mutation($id: ID!) { revokeApiKey(id: $id) { apiKey { revokedAt } } }';
    expect((await admin.run(revoke, { id: data.createApiKey.apiKey.id })).errors).toEqual([]);
    expect((await partner.run(QUERY)).code).toBe('UNAUTHENTICATED');
  });
});

it('an operation whose time is over reads nothing more, and says so', async () => {
  await clock.advance(60_000);
  const { admin } = world.acme;
  await admin.createConversation();
  const list = () => admin.run('{ conversations(first: 5) { nodes { id owner { id } lastMessage { id } } } }');
  const followUps = async () =>
    (await world.requestsOf(list)).filter(({ operation }) => operation.startsWith('BatchGet'));
  expect(await followUps()).not.toEqual([]);
  await clock.advance(60_000); // the points of a minute are there again
  await admin.run('{ tenant { id } }'); // and who asks is known
  onRequest = () => void clock.skip(TIMEOUT_MS);
  const after = await world.requestsOf(async () => {
    const { status, code, errors } = await list();
    expect({ status, code, limitMs: errors[0]?.extensions['limitMs'] }).toEqual({
      ...{ status: 504, code: 'TIMEOUT', limitMs: TIMEOUT_MS },
    });
    await settle(50);
  });
  onRequest = () => {};
  expect(after.filter(({ operation }) => operation.startsWith('BatchGet'))).toEqual([]);
  expect((await admin.run('{ tenant { id } }')).errors).toEqual([]);
});

interface Asked {
  readonly query?: string;
  readonly variables?: object;
  readonly documentId?: string;
}
type Ask = (headers: Readonly<Record<string, string>>, asked: Asked) => Promise<{ data?: unknown; errors?: Errors }>;
type Errors = readonly { readonly extensions: Readonly<Record<string, unknown>> }[];

const post = (headers: Readonly<Record<string, string>>, accept: string, body: Asked) =>
  rawHttp(world.url).send({ body, headers: { ...headers, accept } });

const TRANSPORTS: Readonly<Record<string, Ask>> = {
  HTTP: async (headers, asked) => (await post(headers, 'application/json', asked)).body,
  async 'a socket'(headers, { query = '', ...asked }) {
    const { socket, init, send, next } = await openSocket(world.wsUrl);
    await init(headers);
    send({ type: 'subscribe', id: '1', payload: { query, ...asked } });
    const { type, payload } = await next();
    socket.close();
    return type === 'error' ? { errors: payload } : payload;
  },
  async 'an event stream'(headers, asked) {
    const { text } = await post(headers, 'text/event-stream', asked);
    return JSON.parse(/^event: next\ndata: (.*)$/m.exec(text)?.[1] ?? '');
  },
};

describe.each(Object.entries(TRANSPORTS))('over %s', (_name, ask) => {
  const codes = async (...asked: Parameters<Ask>) =>
    ((await ask(...asked)).errors ?? []).map(({ extensions }) => extensions['code']);
  const DEAR =
    '{ conversations(first: 100) { nodes { messages(first: 100) { nodes { conversation { messages(last: 100) { nodes { id } } } } } } } }';
  beforeEach(() => clock.advance(60_000));

  it("nobody, a role, a tenant that is not named or not one's own: each is refused by its code", async () => {
    const { acme, operator } = world;
    expect(await codes({}, { query: QUERY })).toEqual(['UNAUTHENTICATED']);
    expect(await codes(acme.member.headers, { query: '{ apiKeys { id } }' })).toEqual(['FORBIDDEN']);
    expect(await codes(operator.headers, { query: QUERY })).toEqual(['TENANT_REQUIRED']);
    expect(await codes({ ...acme.member.headers, 'x-tenant-id': 'globex' }, { query: QUERY })).toEqual(['FORBIDDEN']);
  });

  it('what costs too much is refused, and so is more than the points of a minute', async () => {
    const { headers } = world.globex.member;
    expect(await codes(headers, { query: DEAR })).toEqual(['COST_LIMIT_EXCEEDED']);
    for (let n = 0; n < 5; n++) expect(await codes(headers, { query: QUERY })).toEqual([]);
    const { errors } = await ask(headers, { query: QUERY });
    expect(errors?.[0]?.extensions).toMatchObject({ code: 'RATE_LIMITED', limit: PER_MINUTE, retryAfterMs: 12_000 });
  });

  it('an operation whose time is over says so', async () => {
    await world.acme.admin.run('{ tenant { id } }');
    onRequest = () => void clock.skip(TIMEOUT_MS);
    const found = await codes(world.acme.admin.headers, { query: '{ conversations(first: 5) { nodes { id } } }' });
    onRequest = () => {};
    expect(found).toEqual(['TIMEOUT']);
  });

  it('a partner runs what is published by its id, and nothing else', async () => {
    const document = 'query Who { viewer { name } }';
    const documentId = createHash('sha256').update(document).digest('hex');
    const publish = `mutation($id: ID!, $body: String!) { publishOperations(operations: [{ id: $id, body: $body }]) { newCount } }`;
    expect((await world.acme.admin.run(publish, { id: documentId, body: document })).errors).toEqual([]);
    const headers = { 'x-api-key': demoApiKey('acme', world.config.demoPassword).text };
    expect((await ask(headers, { documentId })).data).toEqual({ viewer: { name: 'Acme Corporation Partner' } });
    expect(await codes(headers, { query: document })).toEqual(['PERSISTED_OPERATION_REQUIRED']);
  });
});
