import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { GRAPHQL_RESPONSE, rawHttp, type RawAnswer, type RawRequest } from '../support/raw-http.ts';
import { startSmallApi } from '../support/small-api.ts';
import { startWorld, type World } from '../support/world.ts';

let world: World;
let http: ReturnType<typeof rawHttp>;
beforeAll(async () => {
  world = await startWorld();
  http = rawHttp(world.url);
});
afterAll(() => world.stop());

const QUERY = '{ viewer { id } }';
const inUrl = (query: string) => `/graphql?query=${encodeURIComponent(query)}`;
const member = () => ({ authorization: `Bearer ${world.acme.member.token}` });

/** What every refusal has in common: the shape of a GraphQL response, with a code, and no word of what the server is made of. */
function expectRefusal({ status, code, body, text, headers }: RawAnswer, expected: number) {
  expect(status).toBe(expected);
  expect(headers.get('content-type')).toMatch(/json/);
  expect(Object.keys(body)).toEqual(['errors']);
  expect(code).toBe('BAD_REQUEST');
  expect(typeof body.errors[0].message).toBe('string');
  expect(text).not.toMatch(/FST_|fastify|node_modules|at .+\.[jt]s:\d/i);
}

describe('a request that a page of another site could make is refused before anything runs', () => {
  const body = JSON.stringify({ query: QUERY });
  const shapes: Readonly<Record<string, RawRequest & { readonly status: number }>> = {
    'text/plain': { body, headers: { 'content-type': 'text/plain' }, status: 400 },
    'a form': {
      body: 'query=%7Bviewer%7Bid%7D%7D',
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
      status: 415,
    },
    'a multipart form': { body, headers: { 'content-type': 'multipart/form-data; boundary=x' }, status: 415 },
    'no content type': { body, headers: { 'content-type': '' }, status: 415 },
    'a GET without a header that needs a preflight': { method: 'GET', path: inUrl(QUERY), status: 400 },
    'a GET that says it is a form': {
      method: 'GET',
      path: inUrl(QUERY),
      headers: { 'content-type': 'text/plain' },
      status: 400,
    },
  };
  it.each(Object.entries(shapes))('%s', async (_name, { status, headers, ...request }) => {
    const answer = await http.send({ ...request, headers: { ...member(), ...headers } });
    expectRefusal(answer, status);
    expect(answer.text).not.toContain(world.acme.member.id);
  });
});

describe('GET', () => {
  const preflight = { 'apollo-require-preflight': 'true' };

  it('answers a query that comes with a header that needs a preflight', async () => {
    const answer = await http.get(inUrl(QUERY), { ...preflight, ...member() });
    expect(answer).toMatchObject({ status: 200, body: { data: { viewer: { id: world.acme.member.id } } } });
    expect(answer.headers.get('cache-control')).toBe('no-store');
  });

  it('refuses a mutation, and does nothing of it', async () => {
    const before = await world.acme.member.run('{ conversations { nodes { id } } }');
    const answer = await http.get(inUrl('mutation { createConversation(input: {}) { conversation { id } } }'), {
      ...preflight,
      ...member(),
    });
    expectRefusal(answer, 405);
    expect((await world.acme.member.run('{ conversations { nodes { id } } }')).data).toEqual(before.data);
  });
});

describe('what is no single query or mutation is refused', () => {
  it('a batch', async () => {
    expectRefusal(await http.send({ body: [{ query: QUERY }, { query: QUERY }], headers: member() }), 400);
    expectRefusal(await http.send({ body: [], headers: member() }), 400);
  });

  it('a subscription', async () => {
    const id = await world.acme.member.createConversation();
    const { data } = await world.acme.member.ask(id, 'hello');
    const messageId = data.sendMessage.assistantMessage.id as string;
    const answer = await http.post(
      `subscription { messageStream(messageId: "${messageId}") { sequence } }`,
      {},
      member(),
    );
    expectRefusal(answer, 400);
  });

  it.each([
    ['malformed JSON', '{"query": '],
    ['JSON that is no object', '"{ viewer { id } }"'],
    ['null', 'null'],
    ['no query', '{}'],
    ['a query that is no text', '{"query": {"a": 1}}'],
    ['variables that are no object', '{"query": "{ viewer { id } }", "variables": "x"}'],
    ['an operation name that is no text', '{"query": "{ viewer { id } }", "operationName": {"a": 1}}'],
    ['an empty body', ''],
    ['a prototype', '{"__proto__": {"query": "{ viewer { id } }"}}'],
  ])('%s', async (_name, body) => {
    expectRefusal(await http.send({ body, headers: { ...member(), 'content-type': 'application/json' } }), 400);
  });
});

describe('the size of a body', () => {
  const ofBytes = (bytes: number) => {
    const body = JSON.stringify({ query: QUERY, extensions: { padding: '' } });
    return body.replace('""', `"${'x'.repeat(bytes - body.length)}"`);
  };

  it('1 MB is read', async () => {
    expect(await http.send({ body: ofBytes(1024 * 1024), headers: member() })).toMatchObject({ status: 200 });
  });

  it('a byte more is 413, in the shape of a GraphQL response', async () => {
    expectRefusal(await http.send({ body: ofBytes(1024 * 1024 + 1), headers: member() }), 413);
    const accept = { accept: GRAPHQL_RESPONSE };
    expectRefusal(await http.send({ body: ofBytes(1024 * 1024 + 1), headers: { ...member(), ...accept } }), 413);
  });
});

describe('wrong addresses', () => {
  it.each([
    ['GET', '/'],
    ['POST', '/'],
    ['GET', '/graphql/'],
    ['POST', '/graphql/x'],
    ['POST', '/GraphQL'],
    ['PUT', '/graphql'],
    ['DELETE', '/graphql'],
    ['POST', '/livez'],
    ['GET', '/.env'],
    ['GET', '/metrics'],
  ])('%s %s is 404', async (method, path) => {
    expectRefusal(await http.send({ method, path }), 404);
  });

  it.each(['/%', '/graphql%zz', '/explorer/%'])(
    '%s, which is no address at all, is refused in the same shape',
    async (path) => {
      const answer = await http.get(path);
      expectRefusal(answer, answer.status);
      expect([400, 404]).toContain(answer.status);
    },
  );
});

describe('x-request-id', () => {
  it('a sound one is taken over', async () => {
    const answer = await http.post(QUERY, {}, { ...member(), 'x-request-id': 'trace-0123.abc_DEF' });
    expect(answer.headers.get('x-request-id')).toBe('trace-0123.abc_DEF');
  });

  it.each([
    'short',
    'x'.repeat(65),
    '<script>alert(1)</script>',
    'a b c d e f g h',
    '${jndi:ldap://x/y}',
    'ünïcödé-id',
  ])('a hostile one is replaced: %s', async (id) => {
    const answer = await http.post(QUERY, {}, { ...member(), 'x-request-id': id });
    expect(answer.headers.get('x-request-id')).toMatch(/^[0-9a-f-]{36}$/);
  });

  it('every answer has its own', async () => {
    const answers = await Promise.all([http.post(QUERY), http.post('{'), http.post(QUERY, {}, member())]);
    const ids = answers.map(({ headers }) => headers.get('x-request-id'));
    expect(new Set(ids).size).toBe(3);
    expect(ids).not.toContain(null);
  });
});

describe('CORS', () => {
  const ORIGIN = 'https://app.example';
  const preflight = (origin: string): RawRequest => ({
    method: 'OPTIONS',
    headers: { origin, 'access-control-request-method': 'POST', 'access-control-request-headers': 'authorization' },
  });

  it('is off unless it is configured', async () => {
    for (const request of [preflight(ORIGIN), { body: { query: QUERY }, headers: { ...member(), origin: ORIGIN } }]) {
      const { headers } = await http.send(request);
      expect([...headers.keys()].filter((name) => name.startsWith('access-control-'))).toEqual([]);
    }
  });

  it('admits the listed origins, and no other', async () => {
    const open = await startWorld({ config: { corsOrigins: [ORIGIN, 'https://other.example'] } });
    try {
      const there = rawHttp(open.url);
      const listed = await there.send(preflight(ORIGIN));
      expect(listed.status).toBe(204);
      expect(listed.headers.get('access-control-allow-origin')).toBe(ORIGIN);
      expect(listed.headers.get('access-control-allow-headers')).toContain('authorization');
      expect(listed.headers.get('access-control-allow-credentials')).toBeNull();
      const query = await there.send({ body: { query: QUERY }, headers: { origin: ORIGIN } });
      expect(query.headers.get('access-control-allow-origin')).toBe(ORIGIN);
      expect(query.headers.get('vary')?.toLowerCase()).toContain('origin');

      for (const origin of ['https://app.example.evil.example', 'http://app.example', 'null', 'https://APP.example.']) {
        const refused = await there.send(preflight(origin));
        expect(refused.headers.get('access-control-allow-origin')).not.toBe(origin);
        expect(refused.headers.get('access-control-allow-origin')).not.toBe('*');
      }
    } finally {
      await open.stop();
    }
  });
});

describe('what says how the server is', () => {
  it('/livez and /readyz answer 200 while it serves', async () => {
    expect(await http.get('/livez')).toMatchObject({ status: 200, body: { status: 'ok' } });
    expect(await http.get('/readyz')).toMatchObject({ status: 200, body: { status: 'ok' } });
  });

  it('/readyz is 503 while the store is gone, says no word of why, and /livez stays 200', async () => {
    const checkReady = () => Promise.reject(new Error('connect ECONNREFUSED 10.0.0.7:8000'));
    const api = await startSmallApi({ typeDefs: 'type Query { ok: Int }', resolvers: {}, checkReady });
    try {
      const answer = await rawHttp(api.url).get('/readyz');
      expect(answer).toMatchObject({ status: 503, body: { status: 'unavailable' } });
      expect(answer.text).not.toContain('10.0.0.7');
      expect(api.logText()).toContain('10.0.0.7');
      expect(await rawHttp(api.url).get('/livez')).toMatchObject({ status: 200 });
    } finally {
      await api.stop();
    }
  });

  it('/.well-known/jwks.json holds the public key, and no private part', async () => {
    const { status, headers, body } = await http.get('/.well-known/jwks.json');
    expect(status).toBe(200);
    expect(headers.get('cache-control')).toBe('public, max-age=300');
    expect(body.keys).toHaveLength(1);
    expect(Object.keys(body.keys[0]).sort()).toEqual(['alg', 'crv', 'kid', 'kty', 'use', 'x', 'y']);
    expect(body.keys[0]).toMatchObject({ kty: 'EC', crv: 'P-256', alg: 'ES256', use: 'sig' });
  });
});
