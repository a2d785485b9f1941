import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { RECHECK_EVERY_MS } from '../../src/server/rechecks.ts';
import { createTestClock } from '../support/clock.ts';
import { GRAPHQL_RESPONSE, rawHttp, type RawAnswer, type RawRequest } from '../support/raw-http.ts';
import { openSocket } from '../support/raw-socket.ts';
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

describe('every answer', () => {
  const answers = () =>
    Promise.all([
      http.post(QUERY, {}, member()),
      http.post('{'),
      http.send({ body: 'x', headers: { 'content-type': 'text/plain' } }),
      http.get('/nothing'),
      http.get('/livez'),
      http.get('/exports/usage'),
      http.get('/graphql%zz'),
    ]);

  it("has an id, is no page to anybody, and is nobody's to keep", async () => {
    for (const { headers, status } of await answers()) {
      expect(headers.get('x-request-id')).toMatch(/^[0-9a-f-]{36}$/);
      if (status === 400 && headers.get('content-security-policy') === null) continue; // no address at all: see below
      expect(headers.get('content-security-policy')).toBe("default-src 'none';frame-ancestors 'none'");
      expect(headers.get('x-content-type-options')).toBe('nosniff');
      expect(headers.get('x-frame-options')).toBe('DENY');
      expect(headers.get('referrer-policy')).toBe('no-referrer');
      expect(headers.get('cache-control')).toBe('no-store');
      expect(headers.get('x-powered-by')).toBeNull();
      expect(headers.get('server')).toBeNull();
      expect(headers.get('strict-transport-security')).toBeNull();
    }
  });

  it('but public keys, which may be kept for a while', async () => {
    expect((await http.get('/.well-known/jwks.json')).headers.get('cache-control')).toBe('public, max-age=300');
  });
});

describe('pages of other origins', () => {
  const ACME = 'https://app.acme.example';
  const INSTALLATION = 'https://console.example';
  const ALLOW = 'mutation($o: [String!]) { updateTenant(input: { allowedOrigins: $o }) { tenant { allowedOrigins } } }';
  const WHO = '{ viewer { tenant { id } } }';
  const preflight = (origin: string): RawRequest => ({
    method: 'OPTIONS',
    headers: { origin, 'access-control-request-method': 'POST', 'access-control-request-headers': 'authorization' },
  });
  let there: ReturnType<typeof rawHttp>;
  let open: World;
  const clock = createTestClock(Date.now());
  beforeAll(async () => {
    open = await startWorld({ clock, config: { corsOrigins: [INSTALLATION], trustedProxies: ['127.0.0.1'] } });
    there = rawHttp(open.url);
    const { data } = await open.acme.admin.run(ALLOW, { o: [ACME] });
    expect(data.updateTenant.tenant.allowedOrigins).toEqual([ACME]);
  });
  afterAll(() => open.stop());
  const asked = (who: { readonly token: string | null }, origin: string, more: Record<string, string> = {}) =>
    there.post(WHO, {}, { authorization: `Bearer ${who.token}`, origin, ...more });

  it('hear the same before they have said who they are, whether a tenant knows them or not', async () => {
    const [listed, ours, unknown] = await Promise.all(
      [ACME, INSTALLATION, 'https://evil.example'].map(async (origin) => {
        const { status, headers } = await there.send(preflight(origin));
        expect(headers.get('access-control-allow-origin')).toBe(origin);
        expect(headers.get('access-control-allow-credentials')).toBeNull();
        const said = Object.fromEntries(headers);
        for (const name of ['access-control-allow-origin', 'x-request-id', 'date']) delete said[name];
        return { status, said };
      }),
    );
    expect(listed?.status).toBe(204);
    expect(listed?.said['vary']?.toLowerCase()).toContain('origin');
    expect([ours, unknown]).toEqual([listed, listed]);
  });

  it('may use the tokens of the tenant that lists them, and all those of the installation', async () => {
    expect((await asked(open.acme.member, ACME)).body.data.viewer.tenant.id).toBe('acme');
    expect((await asked(open.globex.member, INSTALLATION)).body.data.viewer.tenant.id).toBe('globex');
    expect((await asked(open.operator, INSTALLATION)).body.data).toEqual({ viewer: { tenant: null } });
  });

  it.each([
    ["another tenant's", ACME],
    ['one that only looks alike', `${ACME}.evil.example`],
    ['another scheme', ACME.replace('https', 'http')],
    ['a page without an origin', 'null'],
    ['what is no origin', '*'],
  ])('ORIGIN_NOT_ALLOWED for all others, with the refusal for them to read: %s', async (_name, origin) => {
    const refused = await asked(open.globex.member, origin);
    expect(refused).toMatchObject({ status: 403, code: 'ORIGIN_NOT_ALLOWED' });
    expect(refused.headers.get('access-control-allow-origin')).toBe(origin);
    expect((await asked(open.operator, origin)).code).toBe('ORIGIN_NOT_ALLOWED');
    const download = { authorization: `Bearer ${open.globex.admin.token}`, origin };
    expect((await there.get('/exports/usage', download)).code).toBe('ORIGIN_NOT_ALLOWED');
  });

  it('of this very server need no permission, also where a proxy speaks for it', async () => {
    expect((await asked(open.acme.member, open.url)).status).toBe(200);
    const proxied = { 'x-forwarded-host': 'api.example' };
    expect((await asked(open.acme.member, 'https://api.example', proxied)).status).toBe(200);
    const liar = { authorization: `Bearer ${world.acme.member.token}`, origin: 'https://api.example', ...proxied };
    expect((await http.post(WHO, {}, liar)).code).toBe('ORIGIN_NOT_ALLOWED');
  });

  it('are not let in by a WebSocket either', async () => {
    const ends = async (origin: string) => {
      const socket = await openSocket(open.wsUrl, 'graphql-transport-ws', { origin });
      const hello = socket.init({ authorization: `Bearer ${open.acme.member.token}` }).then(
        () => socket.socket.close(1000),
        () => {},
      );
      const [{ code }] = await Promise.all([socket.closed, hello]);
      return code;
    };
    expect([await ends(ACME), await ends('https://evil.example')]).toEqual([1000, 4403]);
  });

  it('that are taken off the list are refused from then on, and their sockets are closed', async () => {
    const socket = await openSocket(open.wsUrl, 'graphql-transport-ws', { origin: ACME });
    await socket.init({ authorization: `Bearer ${open.acme.member.token}` });
    await open.acme.admin.run(ALLOW, { o: [] });
    await clock.advance(RECHECK_EVERY_MS);
    expect((await socket.closed).code).toBe(4403);
    expect((await asked(open.acme.member, ACME)).code).toBe('ORIGIN_NOT_ALLOWED');
  });

  it.each([
    'https://app.example/',
    'app.example',
    '*',
    'https://*.example',
    'ftp://app.example',
    'https://App.example',
  ])('are listed as browsers write them: not %s', async (origin) => {
    const { errors } = await open.globex.admin.run(ALLOW, { o: [origin] });
    expect(errors[0]?.extensions).toMatchObject({ code: 'BAD_USER_INPUT', field: 'allowedOrigins' });
  });
});

describe('compression', () => {
  const TYPES = '{ __schema { types { name description } } }';
  const admin = () => ({ authorization: `Bearer ${world.acme.admin.token}` });

  it('makes large answers small for whoever understands it', async () => {
    for (const accept of ['application/json', GRAPHQL_RESPONSE]) {
      const answer = await http.post(TYPES, {}, { ...admin(), accept, 'accept-encoding': 'gzip' });
      expect(answer.headers.get('content-encoding')).toBe('gzip');
      expect(answer.headers.get('vary')?.toLowerCase()).toContain('accept-encoding');
      expect(answer.body.data.__schema.types.length).toBeGreaterThan(50);
    }
    const plain = await http.post(TYPES, {}, { ...admin(), 'accept-encoding': 'identity' });
    expect(plain.headers.get('content-encoding')).toBeNull();
  });

  it('leaves small answers and streams as they are', async () => {
    const gzip = { ...admin(), 'accept-encoding': 'gzip' };
    expect((await http.post(QUERY, {}, gzip)).headers.get('content-encoding')).toBeNull();
    const period = 'start=2026-11-01T00:00:00Z&end=2026-11-02T00:00:00Z&format=jsonl';
    const download = await http.get(`/exports/usage?${period}`, gzip);
    expect(download.status).toBe(200);
    expect(download.headers.get('content-encoding')).toBeNull();
  });

  it('of a request is not read: what it would unfold to is not known', async () => {
    const body = gzipSync(JSON.stringify({ query: QUERY }));
    expectRefusal(await http.send({ body, headers: { 'content-encoding': 'gzip' } }), 400);
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
