import { createPublicKey, generateKeyPairSync } from 'node:crypto';
import { exportJWK, importJWK, SignJWT, UnsecuredJWT, type JWK, type JWTPayload } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { newSigningKey } from '../../src/adapters/jwt/access-tokens.ts';
import { createTestClock } from '../support/clock.ts';
import { rawHttp } from '../support/raw-http.ts';
import { openSocket } from '../support/raw-socket.ts';
import { startWorld, type World } from '../support/world.ts';

const clock = createTestClock();
let world: World;
let signingKey: JWK;
let otherKey: JWK;
let http: ReturnType<typeof rawHttp>;
beforeAll(async () => {
  [signingKey, otherKey] = [await newSigningKey(), await newSigningKey()];
  const secrets = { signingKey, cursorSecret: 'x'.repeat(40) };
  world = await startWorld({ clock, config: { secrets } });
  http = rawHttp(world.url);
});
afterAll(() => world.stop());

const seconds = () => Math.floor(clock.now() / 1000);
const decode = (part: string) => JSON.parse(Buffer.from(part, 'base64url').toString('utf8')) as Record<string, unknown>;
const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
const real = () => world.acme.member.token!;
const claims = (): JWTPayload => decode(real().split('.')[1]!);
const header = () => decode(real().split('.')[0]!) as { alg: string; typ: string; kid: string };

/** A token signed with the server's own key, right in everything but what is changed. */
async function forge(change: { header?: object; claims?: Record<string, unknown>; key?: JWK } = {}): Promise<string> {
  const payload = Object.fromEntries(
    Object.entries({ ...claims(), ...change.claims }).filter(([, value]) => value !== undefined),
  );
  return new SignJWT(payload)
    .setProtectedHeader({ ...header(), ...change.header })
    .sign(await importJWK(change.key ?? signingKey, 'ES256'));
}

/** HS256 with a secret everybody knows: the public key, in a form a careless server would verify with. */
async function symmetric(secret: string): Promise<string> {
  return new SignJWT(claims()).setProtectedHeader({ ...header(), alg: 'HS256' }).sign(Buffer.from(secret));
}

const publicJwk = async () => {
  const { body } = await http.get('/.well-known/jwks.json');
  return body.keys[0] as JWK;
};

const ATTACKS: Readonly<Record<string, () => Promise<string> | string>> = {
  'no signature (alg none)': () => new UnsecuredJWT(claims()).encode(),
  'alg none with a signature': () => [encode({ ...header(), alg: 'none' }), ...real().split('.').slice(1)].join('.'),
  'HS256 with the public key as PEM': async () => {
    const key = createPublicKey({ key: await publicJwk(), format: 'jwk' });
    return symmetric(key.export({ type: 'spki', format: 'pem' }) as string);
  },
  'HS256 with the public key as JWK': async () => symmetric(JSON.stringify(await publicJwk())),
  'signed with another key': () => forge({ key: otherKey }),
  'signed with another key that the token brings along': async () => {
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const own = await exportJWK(privateKey);
    const { d: _secret, ...jwk } = own;
    return forge({ key: own, header: { jwk, kid: undefined } });
  },
  'a key id of nobody': () => forge({ header: { kid: '../../dev/null' } }),
  'an unknown critical header': () =>
    forge({ header: { crit: ['exp'] } }).catch(
      () => `${encode({ ...header(), crit: ['x'], x: 1 })}.${real().split('.').slice(1).join('.')}`,
    ),
  'another audience': () => forge({ claims: { aud: 'another-api' } }),
  'no audience': () => forge({ claims: { aud: undefined } }),
  'another issuer': () => forge({ claims: { iss: 'https://evil.example' } }),
  'another type of token': () => forge({ header: { typ: 'JWT' } }),
  'no type': () => forge({ header: { typ: undefined } }),
  'no expiry': () => forge({ claims: { exp: undefined } }),
  'an expiry in the past': () => forge({ claims: { exp: seconds() - 1 } }),
  'an expiry right now': () => forge({ claims: { exp: seconds() } }),
  'an expiry that is text': () =>
    `${real().split('.')[0]}.${encode({ ...claims(), exp: '9999999999' })}.${real().split('.')[2]}`,
  'not valid yet': () => forge({ claims: { nbf: seconds() + 3600 } }),
  'no subject': () => forge({ claims: { sub: undefined } }),
  'no roles': () => forge({ claims: { roles: [] } }),
  'a role that does not exist': () => forge({ claims: { roles: ['ROOT'] } }),
  'an operator of a tenant': () => forge({ claims: { roles: ['PLATFORM_OPERATOR'] } }),
  'a member of no tenant': () => forge({ claims: { tenant: null } }),
  'a tenant that cannot be one': () => forge({ claims: { tenant: 'acme#USER' } }),
  'a payload with another tenant': () => {
    const [head, , signature] = real().split('.');
    return `${head}.${encode({ ...claims(), tenant: 'globex' })}.${signature}`;
  },
  'a payload with another role': () => {
    const [head, , signature] = real().split('.');
    return `${head}.${encode({ ...claims(), roles: ['TENANT_ADMIN'] })}.${signature}`;
  },
  'without its signature': () => real().split('.').slice(0, 2).join('.') + '.',
  'cut short': () => real().slice(0, -1),
  'a byte of the signature turned': () => {
    const token = real();
    const at = token.length - 10;
    return token.slice(0, at) + (token[at] === 'A' ? 'B' : 'A') + token.slice(at + 1);
  },
  'only dots': () => '..',
  'a refresh token': () => world.acme.member.refreshToken,
  '9,000 characters': () => 'a'.repeat(9_000),
};

/** What a caller without a valid credential is told: one of two sentences, whichever check refused it. */
const MESSAGES = [
  'The access token is not valid, or has expired.',
  'The authorization header must be `Bearer <access token>`.',
];

describe('a token that is not ours', () => {
  it('a forged token passes when nothing is changed in it: the attacks below fail for their own reasons', async () => {
    const answer = await http.post('{ viewer { id } }', {}, { authorization: `Bearer ${await forge()}` });
    expect(answer).toMatchObject({ status: 200, body: { data: { viewer: { id: world.acme.member.id } } } });
  });

  it.each(Object.entries(ATTACKS))('%s: UNAUTHENTICATED, without a hint of why', async (_name, attack) => {
    const token = await attack();
    const answer = await http.post('{ viewer { id } }', {}, { authorization: `Bearer ${token}` });
    expect(answer).toMatchObject({ status: 401, code: 'UNAUTHENTICATED', body: { data: null } });
    expect(answer.body.errors).toHaveLength(1);
    expect(MESSAGES).toContain(answer.body.errors[0].message);
    expect(Object.keys(answer.body.errors[0].extensions)).toEqual(['code']);
  });

  it.each(Object.entries(ATTACKS))('%s: no socket either (4403)', async (_name, attack) => {
    const { send, closed, socket } = await openSocket(world.wsUrl);
    send({ type: 'connection_init', payload: { authorization: `Bearer ${await attack()}` } });
    expect(await closed).toEqual({ code: 4403, reason: 'Forbidden' });
    socket.terminate();
  });

  it.each([
    ['a token without its scheme', () => real()],
    ['an empty one', () => 'Bearer '],
    ['two tokens', () => `Bearer ${real()} ${real()}`],
    ['a list', () => `Bearer ${real()}, Bearer ${real()}`],
    ['another scheme', () => `Token ${real()}`],
  ])('an authorization header that is %s is refused', async (_name, authorization) => {
    const answer = await http.post('{ viewer { id } }', {}, { authorization: authorization() });
    expect(answer).toMatchObject({ status: 401, code: 'UNAUTHENTICATED' });
  });

  it('a header of 100 kB is refused by HTTP itself, and the server lives on', async () => {
    const answer = http.post('{ viewer { id } }', {}, { authorization: `Bearer ${'a'.repeat(100_000)}` });
    // The connection may be gone before the whole header was taken.
    expect(
      await answer.then(
        ({ status }) => status,
        () => 'cut',
      ),
    ).toSatisfy((end) => end === 431 || end === 'cut');
    expect(await http.get('/livez')).toMatchObject({ status: 200 });
  });

  it('a payload of 100 kB opens no socket', async () => {
    const { send, closed } = await openSocket(world.wsUrl);
    send({ type: 'connection_init', payload: { authorization: `Bearer ${'a'.repeat(100_000)}` } });
    expect(await closed).toMatchObject({ code: 4403 });
  });

  it('what needs no caller still answers: a bad token is no reason to refuse a sign-in', async () => {
    const input = { tenant: 'acme', email: 'member@acme.example', password: world.config.demoPassword };
    const query = 'mutation($input: SignInInput!) { signIn(input: $input) { viewer { id } } }';
    const answer = await http.post(query, { input }, { authorization: 'Bearer nonsense' });
    expect(answer.body.data.signIn.viewer.id).toBe(world.acme.member.id);
  });
});

it('a token ends with its time, to the second', async () => {
  const { token } = await world.signIn('acme', 'member@acme.example');
  const headers = { authorization: `Bearer ${token}` };
  const exp = decode(token!.split('.')[1]!)['exp'] as number;
  expect(exp).toBe(seconds() + world.config.jwt.accessTtlMs / 1000);
  await clock.advance(exp * 1000 - clock.now() - 1);
  expect(await http.post('{ viewer { id } }', {}, headers)).toMatchObject({ status: 200 });
  await clock.advance(1);
  const answer = await http.post('{ viewer { id } }', {}, headers);
  expect(answer).toMatchObject({ status: 401, code: 'UNAUTHENTICATED' });
  expect(answer.body.errors[0].message).toBe(MESSAGES[0]);
});
