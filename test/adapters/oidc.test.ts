import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DOCUMENT_BYTES_MAX, FETCH_TIMEOUT_MS } from '../../src/adapters/oidc/documents.ts';
import { COOLDOWN_MS, createIssuerKeys, KEYS_FRESH_MS, KEYS_KEPT_MS } from '../../src/adapters/oidc/issuer-keys.ts';
import { createExternalTokens } from '../../src/adapters/oidc/token-verifier.ts';
import { createTestClock } from '../support/clock.ts';
import { startOidcIssuer, type OidcIssuer } from '../support/oidc-issuer.ts';

const DISCOVERY = '/.well-known/openid-configuration';

let clock: ReturnType<typeof createTestClock>;
let issuer: OidcIssuer;
let logged: string[];
let tokens: ReturnType<typeof createExternalTokens>;
let keys: ReturnType<typeof createIssuerKeys>;
beforeEach(async () => {
  clock = createTestClock();
  issuer = await startOidcIssuer(clock);
  logged = [];
  const log = { keysNotFetched: (name: string, reason: string) => logged.push(`${name} ${reason}`) };
  keys = createIssuerKeys({ loopback: true, clock, log });
  tokens = createExternalTokens({ keys, clock });
});
afterEach(() => issuer.close());

const verify = (token: string) => tokens.verify(token, issuer.url);
const isGood = (token: string) =>
  verify(token).then(
    () => true,
    () => false,
  );
const fetches = () => issuer.requests.filter((path) => path === '/jwks').length;

describe('the keys of an issuer', () => {
  it('are found by discovery, once for all who come at the same time, and kept for ten minutes', async () => {
    const token = await issuer.token();
    await Promise.all(Array.from({ length: 20 }, () => verify(token)));
    await clock.advance(KEYS_FRESH_MS - 1);
    await verify(token);
    expect(issuer.requests).toEqual([DISCOVERY, '/jwks']);
    await clock.advance(1);
    await verify(token);
    expect(fetches()).toBe(2);
  });

  it('that are new are good at once; those that were withdrawn for ten minutes at most', async () => {
    const old = await issuer.token();
    await verify(old);
    await clock.advance(COOLDOWN_MS);
    await issuer.rotate();
    expect(await isGood(await issuer.token())).toBe(true);
    expect(await isGood(old)).toBe(true);
    await issuer.rotate({ withdraw: true });
    expect(await isGood(old)).toBe(true);
    await clock.advance(KEYS_FRESH_MS);
    expect(await isGood(old)).toBe(false);
  });

  it('go on for six hours while the issuer is away, which costs nobody’s patience but the first one’s', async () => {
    const token = await issuer.token({ exp: Math.floor(clock.now() / 1000) + 86_400 });
    await verify(token);
    issuer.answers[DISCOVERY] = (response) => response.writeHead(503).end();
    await clock.advance(KEYS_FRESH_MS);
    expect(await isGood(token)).toBe(true);
    expect(logged).toEqual([`${issuer.url} The issuer answered 503.`]);
    issuer.answers[DISCOVERY] = () => {}; // never answers
    await clock.advance(KEYS_KEPT_MS - KEYS_FRESH_MS - 1);
    expect(await isGood(token)).toBe(true);
    await clock.advance(FETCH_TIMEOUT_MS + COOLDOWN_MS);
    issuer.answers[DISCOVERY] = (response) => response.writeHead(503).end();
    expect(await isGood(token)).toBe(false);
    delete issuer.answers[DISCOVERY];
    await clock.advance(COOLDOWN_MS);
    expect(await isGood(token)).toBe(true);
  });

  it('are asked for once in ten seconds at most, whatever unknown keys come, and whether the issuer answers or not', async () => {
    await verify(await issuer.token());
    const stranger = await issuer.newKey('key-of-nobody');
    const forged = await issuer.token({}, { key: stranger });
    for (let n = 0; n < 50; n++) expect(await isGood(forged)).toBe(false);
    expect(fetches()).toBe(1);
    await clock.advance(COOLDOWN_MS);
    await Promise.all(Array.from({ length: 50 }, () => isGood(forged)));
    expect(fetches()).toBe(2);
    issuer.answers['/jwks'] = (response) => response.writeHead(500).end();
    await clock.advance(COOLDOWN_MS);
    for (let n = 0; n < 50; n++) await isGood(forged);
    expect(fetches()).toBe(3);
  });

  it('that nobody could fetch let nobody in, and are asked for again after ten seconds', async () => {
    issuer.answers[DISCOVERY] = (response) => response.writeHead(503).end();
    const token = await issuer.token();
    for (let n = 0; n < 5; n++) expect(await isGood(token)).toBe(false);
    expect(issuer.requests).toHaveLength(1);
    delete issuer.answers[DISCOVERY];
    await clock.advance(COOLDOWN_MS);
    expect(await isGood(token)).toBe(true);
  });
});

describe('what an issuer answers', () => {
  const json = (body: unknown) => JSON.stringify(body);
  const pad = 'x'.repeat(DOCUMENT_BYTES_MAX);
  it.each<[string, string, Record<string, string | number>, string, RegExp]>([
    ['a redirect is not followed', '/jwks', { status: 302, location: 'http://127.0.0.1:1/' }, '', /answered 302/],
    ['a huge set of keys is not taken', '/jwks', { status: 200 }, json({ keys: [], pad }), /more than 262144 bytes/],
    ['no JSON is refused', '/jwks', { status: 200 }, '<html>', /no JSON/],
    ['no set of keys is refused', '/jwks', { status: 200 }, '{}', /Discovery says/],
    ['no discovery is refused', DISCOVERY, { status: 200 }, '[]', /Discovery says/],
    [
      'another issuer’s name is refused',
      DISCOVERY,
      { status: 200 },
      json({ issuer: 'https://x.example', jwks_uri: 'https://x.example/k' }),
      /another name/,
    ],
  ])('%s', async (_what, path, { status, ...headers }, body, reason) => {
    issuer.answers[path as '/jwks'] = (response) => response.writeHead(status as number, headers).end(body);
    expect(await keys.faultOf(issuer.url)).toMatch(reason);
    expect(await isGood(await issuer.token())).toBe(false);
  });

  it('keys at a private address are not fetched', async () => {
    issuer.answers[DISCOVERY] = (response) =>
      response.writeHead(200).end(json({ issuer: issuer.url, jwks_uri: 'https://169.254.169.254/keys' }));
    expect(await keys.faultOf(issuer.url)).toMatch(/no address on the public internet/);
  });

  it('keys at a port of another service are not fetched', async () => {
    issuer.answers[DISCOVERY] = (response) =>
      response.writeHead(200).end(json({ issuer: issuer.url, jwks_uri: 'https://issuer.example:22/keys' }));
    expect(await keys.faultOf(issuer.url)).toBe('The port must be 443, or 1024 and above.');
  });

  it('nothing for five seconds is no answer', async () => {
    issuer.answers['/jwks'] = () => {};
    const outcome = isGood(await issuer.token());
    while (fetches() === 0) await new Promise((resolve) => setImmediate(resolve));
    await clock.advance(FETCH_TIMEOUT_MS);
    expect(await outcome).toBe(false);
    expect(logged).toEqual([`${issuer.url} The issuer did not answer within 5 s.`]);
  });

  it('is not even asked for outside embedded mode, where the issuer is on this machine', async () => {
    const strict = createIssuerKeys({ loopback: false, clock, log: { keysNotFetched: () => {} } });
    expect(await strict.faultOf(issuer.url)).toBe('The URL must begin with https://.');
    expect(await strict.faultOf('https://127.0.0.1/')).toMatch(/public internet/);
    const named = createIssuerKeys({
      ...{ loopback: false, clock, log: { keysNotFetched: () => {} } },
      resolve: () => Promise.resolve(['93.184.216.34', '10.0.0.7']),
    });
    expect(await named.faultOf('https://issuer.example')).toMatch(/public internet/);
    expect(issuer.requests).toEqual([]);
  });
});

describe('a token', () => {
  const now = () => Math.floor(clock.now() / 1000);

  it.each(['RS256', 'PS256', 'ES256', 'EdDSA'])('signed with %s is good', async (alg) => {
    await issuer.rotate({ withdraw: true, alg });
    expect(await isGood(await issuer.token())).toBe(true);
  });

  it('says who it is from before it proves anything; what is no token says nothing', async () => {
    expect(tokens.issuerOf(await issuer.token())).toBe(issuer.url);
    for (const text of ['', 'x', 'a.b.c', '..', 'ey.ey.ey.ey.ey']) expect(tokens.issuerOf(text)).toBeNull();
  });

  it('ends with its time, or a day after it was issued', async () => {
    const { expiresAt } = await verify(await issuer.token({ exp: now() + 300 }));
    expect(expiresAt).toBe((now() + 300) * 1000);
    const long = await verify(await issuer.token({ exp: now() + 30 * 86_400 }));
    expect(long.expiresAt).toBe((now() + 86_400) * 1000);
  });

  it.each<[string, Record<string, unknown>, object?]>([
    ['of another issuer', { iss: 'https://evil.example' }],
    ['that has expired', { exp: 1 }],
    ['without an end', { exp: undefined }],
    ['without a beginning', { iat: undefined }],
    ['issued over a day ago', { iat: 1 }],
    ['issued in an hour', { iat: 9_999_999_999, exp: 9_999_999_999 }],
    ['that is not valid yet', { nbf: 9_999_999_999 }],
    ['made for a log-out', {}, { typ: 'logout+jwt' }],
    ['made for DPoP', {}, { typ: 'dpop+jwt' }],
    ['with a key id of nobody', {}, { kid: '../../dev/null' }],
  ])('%s is refused', async (_what, claims, header = {}) => {
    expect(await isGood(await issuer.token(claims, { header }))).toBe(false);
  });

  it('is good from an issuer whose clock is half a minute ahead, and no more', async () => {
    expect(await isGood(await issuer.token({ iat: now() + 30 }))).toBe(true);
    expect(await isGood(await issuer.token({ iat: now() + 31 }))).toBe(false);
  });
});
