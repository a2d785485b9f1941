import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { AppError, type ErrorCode, type ErrorDetails } from '../../src/kernel/errors.ts';
import { GRAPHQL_RESPONSE, rawHttp } from '../support/raw-http.ts';
import { startSmallApi } from '../support/small-api.ts';
import { startWorld, type World } from '../support/world.ts';

let world: World;
let http: ReturnType<typeof rawHttp>;
beforeAll(async () => {
  world = await startWorld();
  http = rawHttp(world.url);
});
afterAll(() => world.stop());

const bearer = (token: string | null) => ({ authorization: `Bearer ${token}` });

interface Case {
  readonly query: string;
  readonly variables?: object;
  readonly operationName?: string;
  readonly headers?: () => Readonly<Record<string, string>>;
  readonly code: string;
  /** In `application/json` and in `application/graphql-response+json`. */
  readonly status: readonly [number, number];
}

const member = () => bearer(world.acme.member.token);
const operator = (tenant?: string) => () => ({
  ...bearer(world.operator.token),
  ...(tenant !== undefined && { 'x-tenant-id': tenant }),
});
const USAGE =
  '{ usageSummary(start: "2026-01-01T00:00:00.000Z", end: "2026-01-02T00:00:00.000Z") { tokens { totalTokens } } }';

const CASES: Readonly<Record<string, Case>> = {
  'a document that does not parse': { query: '{', code: 'GRAPHQL_PARSE_FAILED', status: [200, 400] },
  'an empty document': { query: '', code: 'BAD_REQUEST', status: [400, 400] },
  'a field that does not exist': { query: '{ secrets }', code: 'GRAPHQL_VALIDATION_FAILED', status: [200, 400] },
  'a variable that is missing': {
    query: 'query($id: ID!) { conversation(id: $id) { id } }',
    headers: member,
    code: 'BAD_USER_INPUT',
    status: [200, 400],
  },
  'a variable of the wrong shape': {
    query: 'mutation($input: SendMessageInput!) { sendMessage(input: $input) { userMessage { id } } }',
    variables: { input: { conversationId: 'x', content: { not: 'text' } } },
    headers: member,
    code: 'BAD_USER_INPUT',
    status: [200, 400],
  },
  'a date that is none': {
    query: 'query($at: DateTime!) { usageSummary(start: $at, end: $at) { start } }',
    variables: { at: 'yesterday' },
    headers: () => bearer(world.acme.admin.token),
    code: 'BAD_USER_INPUT',
    status: [200, 400],
  },
  'an argument that breaks its rule': {
    query: '{ conversations(first: 101) { nodes { id } } }',
    headers: member,
    code: 'BAD_USER_INPUT',
    status: [200, 400],
  },
  'an operation name the document does not have': {
    query: 'query A { viewer { id } } query B { viewer { id } }',
    operationName: 'C',
    headers: member,
    code: 'OPERATION_RESOLUTION_FAILURE',
    status: [200, 400],
  },
  'several operations and no name': {
    query: 'query A { viewer { id } } query B { viewer { id } }',
    headers: member,
    code: 'OPERATION_RESOLUTION_FAILURE',
    status: [200, 400],
  },
  'no token': { query: '{ viewer { id } }', code: 'UNAUTHENTICATED', status: [401, 401] },
  'an authorization that is no bearer token': {
    query: '{ viewer { id } }',
    headers: () => ({ authorization: 'Basic dXNlcjpwYXNz' }),
    code: 'UNAUTHENTICATED',
    status: [401, 401],
  },
  'a token that is none of ours': {
    query: '{ tenant { id } }',
    headers: () => bearer('not.a.token'),
    code: 'UNAUTHENTICATED',
    status: [401, 401],
  },
  'a wrong password': {
    query: 'mutation($input: SignInInput!) { signIn(input: $input) { accessToken } }',
    variables: { input: { tenant: 'acme', email: 'member@acme.example', password: 'wrong-wrong-wrong' } },
    code: 'UNAUTHENTICATED',
    status: [401, 401],
  },
  'a role that may not': { query: USAGE, headers: member, code: 'FORBIDDEN', status: [403, 403] },
  'a member who names another tenant': {
    query: '{ tenant { id } }',
    headers: () => ({ ...member(), 'x-tenant-id': 'globex' }),
    code: 'FORBIDDEN',
    status: [403, 403],
  },
  'an operator who names no tenant': {
    query: '{ tenant { id } }',
    headers: operator(),
    code: 'TENANT_REQUIRED',
    status: [400, 400],
  },
  'an operator who names a tenant that is not there': {
    query: '{ tenant { id } }',
    headers: operator('nowhere'),
    code: 'TENANT_INVALID',
    status: [403, 403],
  },
  'an operator who names what cannot be a tenant': {
    query: '{ tenant { id } }',
    headers: operator('../acme#x'),
    code: 'TENANT_INVALID',
    status: [403, 403],
  },
  'a conversation that is not there': {
    query: 'mutation { deleteConversation(input: { conversationId: "conv-x" }) { deletedConversationId } }',
    headers: member,
    code: 'NOT_FOUND',
    status: [200, 400],
  },
};

describe.each([
  ['application/json', 0],
  [GRAPHQL_RESPONSE, 1],
] as const)('an error in %s', (accept, column) => {
  it.each(Object.entries(CASES))('%s', async (_name, { query, variables, operationName, headers, code, status }) => {
    const answer = await http.send({ body: { query, variables, operationName }, headers: { accept, ...headers?.() } });
    expect(answer.code).toBe(code);
    expect(answer.status).toBe(status[column]);
    expect(answer.headers.get('content-type')).toContain(accept);
    expect(answer.body.data ?? null).toBeNull();
    for (const error of answer.body.errors) expect(Object.keys(error.extensions)).not.toContain('stacktrace');
  });
});

describe('an INTERNAL fault', () => {
  let api: Awaited<ReturnType<typeof startSmallApi>>;
  const SECRET = 'row T#acme#CONV of table prod-app';
  beforeAll(async () => {
    api = await startSmallApi({
      typeDefs: `
        enum Colour { RED }
        interface Shape { id: ID! }
        type Square implements Shape { id: ID! }
        type Query {
          ok: Int
          thrown: Int
          rejected: Int!
          coded: Int
          badNumber: Int
          badEnum: Colour
          badType: Shape
          badNull: Int!
        }`,
      resolvers: {
        Query: {
          ok: () => 1,
          thrown: () => {
            throw new Error(SECRET);
          },
          rejected: () => Promise.reject(new TypeError(SECRET)),
          coded: () => Promise.reject(Object.assign(new Error(SECRET), { extensions: { code: 'BAD_USER_INPUT' } })),
          badNumber: () => SECRET,
          badEnum: () => SECRET,
          badType: () => ({ __typename: SECRET, id: 1 }),
          badNull: () => null,
        },
      },
    });
  });
  afterAll(() => api.stop());

  it.each(['thrown', 'rejected', 'coded', 'badNumber', 'badEnum', 'badType { id }', 'badNull'])(
    '%s: 500, a request id that finds it in the log, and nothing of the cause',
    async (field) => {
      for (const accept of ['application/json', GRAPHQL_RESPONSE]) {
        const answer = await rawHttp(api.url).post(`{ ${field} }`, {}, { accept });
        expect(answer.status).toBe(500);
        expect(answer.code).toBe('INTERNAL');
        const { extensions, message } = answer.body.errors[0];
        expect(Object.keys(extensions).sort()).toEqual(['code', 'requestId']);
        expect(extensions.requestId).toBe(answer.headers.get('x-request-id'));
        expect(message).not.toMatch(/acme|prod-app|cannot|null/i);
        expect(answer.text).not.toContain(SECRET);
        const logged = api.logLines.filter(({ requestId }) => requestId === extensions.requestId);
        expect(logged.map(({ msg }) => msg).sort()).toEqual(['operation', 'unexpected error']);
        if (field !== 'badNull') expect(JSON.stringify(logged)).toContain(SECRET);
      }
    },
  );

  it('keeps 200 and the data beside it when another root field returned a value', async () => {
    for (const accept of ['application/json', GRAPHQL_RESPONSE]) {
      const { status, body } = await rawHttp(api.url).post('{ ok thrown }', {}, { accept });
      expect(status).toBe(200);
      expect(body.data).toEqual({ ok: 1, thrown: null });
      expect(body.errors).toHaveLength(1);
    }
  });
});

describe('a 429', () => {
  const refuse = (code: ErrorCode, details: ErrorDetails = {}) => {
    throw new AppError(code, 'Not now.', details);
  };
  let api: Awaited<ReturnType<typeof startSmallApi>>;
  beforeAll(async () => {
    api = await startSmallApi({
      typeDefs: 'type Query { ok: Int limited(ms: Float): Int busy: Int nobody: Int }',
      resolvers: {
        Query: {
          ok: () => 1,
          limited: (_root: unknown, { ms = null }: { ms?: number | null }) =>
            refuse('RATE_LIMITED', ms === null ? {} : { retryAfterMs: ms }),
          busy: () => refuse('AGENT_UNAVAILABLE', { retryAfterMs: 9_000 }),
          nobody: () => refuse('UNAUTHENTICATED', { retryAfterMs: 9_000 }),
        },
      },
    });
  });
  afterAll(() => api.stop());

  it.each([
    ['{ limited(ms: 1000) }', '1'],
    ['{ limited(ms: 1001) }', '2'],
    ['{ limited(ms: 1) }', '1'],
    ['{ limited(ms: 0) }', '0'],
    ['{ busy limited(ms: 60000) }', '60'],
    ['{ limited }', null],
  ])('%s says in whole seconds, rounded up, when to come back: %s', async (query, seconds) => {
    for (const accept of ['application/json', GRAPHQL_RESPONSE]) {
      const { status, headers } = await rawHttp(api.url).post(query, {}, { accept });
      expect(status).toBe(429);
      expect(headers.get('retry-after')).toBe(seconds);
    }
  });

  it.each([
    ['{ ok limited(ms: 1000) }', 200],
    ['{ nobody limited(ms: 1000) }', 401],
    ['{ busy }', 200],
  ])('and only a 429: %s', async (query, expected) => {
    const { status, headers } = await rawHttp(api.url).post(query);
    expect(status).toBe(expected);
    expect(headers.get('retry-after')).toBeNull();
  });

  it('of which a page of another origin may read the header', async () => {
    const { headers } = await rawHttp(api.url).post('{ limited(ms: 1) }', {}, { origin: 'https://app.example' });
    expect(headers.get('access-control-expose-headers')).toContain('retry-after');
  });
});

describe('the status follows the media type of the answer', () => {
  it.each([
    ['application/json, application/graphql-response+json;q=0.1', 200],
    ['application/graphql-response+json, application/json;q=0.9', 400],
    ['application/graphql-response+json;q=0, application/json', 200],
    ['*/*', 200],
  ])('accept: %s → %i', async (accept, status) => {
    const answer = await http.post('{', {}, { accept });
    const isGraphQL = answer.headers.get('content-type')?.startsWith(GRAPHQL_RESPONSE);
    expect(answer.status).toBe(isGraphQL ? 400 : 200);
    expect(answer.status).toBe(status);
  });

  it('406 for a client that can read neither', async () => {
    expect(await http.post('{ viewer { id } }', {}, { accept: 'text/html' })).toMatchObject({
      status: 406,
      code: 'BAD_REQUEST',
    });
  });
});

it('partial data keeps 200, whatever code the other root field has', async () => {
  const query = `{ viewer { name } message(id: "x") { id } broken: conversations(first: 0) { nodes { id } } }`;
  const whole = await http.post(query, {}, member());
  // `conversations` is non-null: it takes the whole answer with it.
  expect(whole).toMatchObject({ status: 200, code: 'BAD_USER_INPUT', body: { data: null } });
  const partial = await http.post('{ viewer { name tenant { id } } conversation(id: "x") { id } }', {}, member());
  expect(partial).toMatchObject({ status: 200, code: undefined, body: { data: { conversation: null } } });
});
