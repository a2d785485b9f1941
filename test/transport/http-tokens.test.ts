import { createPublicKey, generateKeyPairSync } from 'node:crypto';
import { calculateJwkThumbprint, exportJWK, importJWK, SignJWT, UnsecuredJWT, type JWK, type JWTPayload } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { newSigningKey } from '../../src/adapters/jwt/access-tokens.ts';
import { createTestClock } from '../support/clock.ts';
import { rawHttp } from '../support/raw-http.ts';
import { openSocket } from '../support/raw-socket.ts';
import { startWorld, testConfig, type World } from '../support/world.ts';

const clock = createTestClock();
let world: World;
let signingKey: JWK;
let otherKey: JWK;
/** The one that signed before. */
let previousKey: JWK;
let http: ReturnType<typeof rawHttp>;
beforeAll(async () => {
  [signingKey, otherKey, previousKey] = [await newSigningKey(), await newSigningKey(), await newSigningKey()];
  const secrets = { signingKey, cursorSecret: 'x'.repeat(40) };
  const jwt = { ...testConfig().jwt, verificationKeys: [previousKey] };
  world = await startWorld({ clock, config: { secrets, jwt } });
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
  'a key at an address that the token names (jku)': () =>
    forge({ key: otherKey, header: { jku: `${world.url}/.well-known/jwks.json`, kid: undefined } }),
  'a certificate at an address that the token names (x5u)': () =>
    forge({ key: otherKey, header: { x5u: 'https://evil.example/certificate.pem' } }),
  'a certificate that the token brings along (x5c)': () => forge({ key: otherKey, header: { x5c: ['bm90aGluZw=='] } }),
  'a key id of nobody': () => forge({ header: { kid: '../../dev/null' } }),
  'an unknown critical header': () =>
    forge({ header: { crit: ['exp'] } }).catch(
      () => `${encode({ ...header(), crit: ['x'], x: 1 })}.${real().split('.').slice(1).join('.')}`,
    ),
  'another audience': () => forge({ claims: { aud: 'another-api' } }),
  'no audience': () => forge({ claims: { aud: undefined } }),
  'another issuer': () => forge({ claims: { iss: 'https://evil.example' } }),
  'an issuer that is no text': () =>
    `${real().split('.')[0]}.${encode({ ...claims(), iss: 1 })}.${real().split('.')[2]}`,
  'an issuer that is an object': () =>
    `${real().split('.')[0]}.${encode({ ...claims(), iss: { length: 1 } })}.${real().split('.')[2]}`,
  'another type of token': () => forge({ header: { typ: 'JWT' } }),
  'no type': () => forge({ header: { typ: undefined } }),
  'no expiry': () => forge({ claims: { exp: undefined } }),
  'an expiry in the past': () => forge({ claims: { exp: seconds() - 1 } }),
  'an expiry right now': () => forge({ claims: { exp: seconds() } }),
  'an expiry that is text': () =>
    `${real().split('.')[0]}.${encode({ ...claims(), exp: '9999999999' })}.${real().split('.')[2]}`,
  'not valid yet': () => forge({ claims: { nbf: seconds() + 3600 } }),
  'issued in an hour': () => forge({ claims: { iat: seconds() + 3600, exp: seconds() + 7200 } }),
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
  'a session that never was': () => forge({ claims: { sid: '01ARZ3NDEKTSV4RRFFQ69G5FAV' } }),
  'a user that never was': () => forge({ claims: { sub: 'user-01ARZ3NDEKTSV4RRFFQ69G5FAV' } }),
  'a session of somebody else': () => forge({ claims: { sub: world.acme.admin.id } }),
  'a session of another tenant': () => forge({ claims: { tenant: 'globex' } }),
  'a role that the user does not have': () => forge({ claims: { roles: ['TENANT_ADMIN'] } }),
  'no tenant, and the role of an operator': () => forge({ claims: { tenant: null, roles: ['PLATFORM_OPERATOR'] } }),
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

  it('one that the key before has signed is: both keys are published, none with its private part', async () => {
    const kid = await calculateJwkThumbprint(previousKey);
    const token = await forge({ key: previousKey, header: { kid } });
    expect(await http.post('{ viewer { id } }', {}, { authorization: `Bearer ${token}` })).toMatchObject({
      status: 200,
    });
    const { body } = await http.get('/.well-known/jwks.json');
    expect(body.keys.map((key: JWK) => [key.kid, 'd' in key])).toEqual([
      [header().kid, false],
      [kid, false],
    ]);
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

describe('a token that was good', () => {
  const WATCH = 'subscription { liveUsage { activeGenerations } }';
  const SIGN_OUT = 'mutation($token: String!) { signOut(refreshToken: $token) }';
  const viewer = (token: string) => http.post('{ viewer { id } }', {}, { authorization: `Bearer ${token}` });

  /** Lets seconds pass, in each of which what is read and sent has its time. */
  async function pass(count: number) {
    for (let second = 0; second < count; second++) {
      await clock.advance(1_000);
      await viewer(real());
    }
  }

  /** A session of an administrator of `globex`, one socket of it with a subscription, and one without. */
  async function openSession(email = 'admin@globex.example') {
    const session = await world.signIn('globex', email);
    const authorization = `Bearer ${session.token}`;
    const [watching, idle] = [await openSocket(world.wsUrl), await openSocket(world.wsUrl)];
    for (const socket of [watching, idle])
      expect(await socket.init({ authorization })).toMatchObject({ type: 'connection_ack' });
    watching.subscribe('watch', WATCH);
    const first = watching.next();
    await pass(2);
    expect(await first).toMatchObject({ type: 'next', payload: { data: { liveUsage: {} } } });
    return { session, authorization, watching, idle };
  }

  /** Every way in is closed, with the one answer, at most 30 s after. */
  async function expectEnded({ session, authorization, watching, idle }: Awaited<ReturnType<typeof openSession>>) {
    await pass(30);
    const over = (await watching.until('complete')).filter(({ type }) => type === 'next').at(-1);
    expect(over?.payload).toMatchObject({ data: null, errors: [{ message: MESSAGES[0] }] });
    expect(over?.payload.errors[0].extensions).toEqual({ code: 'UNAUTHENTICATED' });
    for (const socket of [watching, idle]) expect(await socket.closed).toMatchObject({ code: 4403 });
    const answer = await viewer(session.token!);
    expect(answer).toMatchObject({ status: 401, code: 'UNAUTHENTICATED' });
    expect(answer.body.errors[0].message).toBe(MESSAGES[0]);
    const again = await openSocket(world.wsUrl);
    again.send({ type: 'connection_init', payload: { authorization } });
    expect(await again.closed).toMatchObject({ code: 4403 });
  }

  it('is good for nothing after its session was signed out: not by HTTP, not for a new socket, not on an open one', async () => {
    const opened = await openSession();
    await world.nobody.run(SIGN_OUT, { token: opened.session.refreshToken });
    await expectEnded(opened);
  });

  it('is good for nothing after its refresh token was used twice', async () => {
    const opened = await openSession();
    const refresh = 'mutation($token: String!) { refreshSession(refreshToken: $token) { accessToken } }';
    const { data } = await world.nobody.run(refresh, { token: opened.session.refreshToken });
    const replayed = await world.nobody.run(refresh, { token: opened.session.refreshToken });
    expect(replayed.code).toBe('UNAUTHENTICATED');
    await expectEnded(opened);
    expect((await viewer(data.refreshSession.accessToken as string)).code).toBe('UNAUTHENTICATED');
  });

  describe('of somebody whom an administrator', () => {
    const asAdmin = (mutation: string) =>
      world.globex.admin.run(`mutation($id: ID!) { ${mutation} { user { id } } }`, { id: world.globex.member.id });
    const setRole = (role: string) => asAdmin(`setUserRoles(input: { userId: $id, roles: [${role}] })`);

    it.each([
      ['disables', () => asAdmin('disableUser(userId: $id)')],
      ['gives other roles', () => setRole('MEMBER')],
    ])('%s is good for nothing', async (_what, act) => {
      await asAdmin('enableUser(userId: $id)');
      expect((await setRole('TENANT_ADMIN')).errors).toEqual([]);
      const opened = await openSession('member@globex.example');
      expect((await act()).errors).toEqual([]);
      await expectEnded(opened);
    });
  });

  it('of a tenant that is suspended is good for `viewer` alone', async () => {
    const suspend =
      'mutation($id: ID!, $status: TenantStatus!) { setTenantStatus(tenantId: $id, status: $status) { tenant { id } } }';
    await world.operator.run(suspend, { id: 'acme', status: 'SUSPENDED' });
    await clock.advance(30_000);
    const headers = { authorization: `Bearer ${real()}` };
    expect(await http.post('{ tenant { id } }', {}, headers)).toMatchObject({ status: 403, code: 'TENANT_SUSPENDED' });
    expect(await http.post('{ viewer { id } }', {}, headers)).toMatchObject({ status: 200 });
    await world.operator.run(suspend, { id: 'acme', status: 'ACTIVE' });
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
