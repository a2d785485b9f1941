import { generateKeyPairSync } from 'node:crypto';
import { exportJWK, importJWK, SignJWT, UnsecuredJWT, type JWK, type JWTPayload } from 'jose';
import { beforeAll, describe, expect, it } from 'vitest';
import { createAccessTokens, newSigningKey } from '../../src/adapters/jwt/access-tokens.ts';
import type { AccessClaims } from '../../src/auth/model.ts';
import { parseTenantId } from '../../src/tenancy/tenant-id.ts';
import { createTestClock, type TestClock } from '../support/clock.ts';

const ISSUER = 'https://issuer.example';
const AUDIENCE = 'bedrock-graphql';
const TTL = 900_000;

const CLAIMS: AccessClaims = {
  userId: 'user-01JD5000000000000000000000',
  sessionId: '01JD5000000000000000000000',
  name: 'Mia Member',
  email: 'mia@acme.example',
  roles: ['MEMBER'],
  tenantId: parseTenantId('acme'),
};

const refused = { code: 'UNAUTHENTICATED', details: {}, message: 'The access token is not valid, or has expired.' };

let signingKey: JWK;
beforeAll(async () => {
  signingKey = await newSigningKey();
});

async function open(clock: TestClock = createTestClock()) {
  const options = { signingKey, issuer: ISSUER, audience: AUDIENCE, ttlMs: TTL, clock };
  const tokens = await createAccessTokens(options);
  const now = Math.floor(clock.now() / 1000);
  const payload: JWTPayload = {
    ...{ iss: ISSUER, aud: AUDIENCE, sub: CLAIMS.userId, jti: 'x', iat: now, exp: now + 60 },
    ...{ sid: CLAIMS.sessionId, name: CLAIMS.name, email: CLAIMS.email, tenant: 'acme', roles: ['MEMBER'] },
  };
  const header = { alg: 'ES256', typ: 'at+jwt', kid: tokens.jwks.keys[0]!.kid! };
  /** A token that is right in everything but what is given. */
  async function forge(
    changed: Record<string, unknown> = {},
    changedHeader: Record<string, unknown> = {},
    key = signingKey,
  ) {
    const claims = Object.fromEntries(
      Object.entries({ ...payload, ...changed }).filter(([, value]) => value !== undefined),
    );
    const all = Object.fromEntries(
      Object.entries({ ...header, ...changedHeader }).filter(([, value]) => value !== undefined),
    );
    return new SignJWT(claims).setProtectedHeader(all as typeof header).sign(await importJWK(key, 'ES256'));
  }
  return { tokens, clock, options, forge, payload, header };
}

describe('an access token', () => {
  it('says of its caller what was put in, until its time is over', async () => {
    const { tokens, clock } = await open();
    const { token, principal } = await tokens.issue(CLAIMS);
    const { userId, name, email, roles, tenantId, sessionId } = CLAIMS;
    const credential = { kind: 'SESSION', sessionId };
    expect(principal).toEqual({ userId, name, email, roles, tenantId, credential, expiresAt: clock.now() + TTL });
    expect(await tokens.verify(token)).toEqual(principal);
    await clock.advance(TTL - 1_000);
    expect(await tokens.verify(token)).toEqual(principal);
    await clock.advance(1_000);
    await expect(tokens.verify(token)).rejects.toMatchObject(refused);
  });

  it('of an operator names no tenant', async () => {
    const { tokens } = await open();
    const { token } = await tokens.issue({ ...CLAIMS, roles: ['PLATFORM_OPERATOR'], tenantId: null, email: null });
    expect(await tokens.verify(token)).toMatchObject({ roles: ['PLATFORM_OPERATOR'], tenantId: null, email: null });
  });

  it('of another instance with the same key is good; two of the same second differ', async () => {
    const [a, b] = [await open(), await open()];
    const { token } = await a.tokens.issue(CLAIMS);
    expect(await b.tokens.verify(token)).toMatchObject({ userId: CLAIMS.userId });
    expect((await a.tokens.issue(CLAIMS)).token).not.toBe(token);
  });

  it('that is forged rightly is good: so a wrong one below is refused for what is wrong in it', async () => {
    const { tokens, forge } = await open();
    expect(await tokens.verify(await forge())).toMatchObject({ userId: CLAIMS.userId });
  });
});

describe('refused is', () => {
  it.each<[string, Record<string, unknown>, Record<string, unknown>]>([
    ['another issuer', { iss: 'https://evil.example' }, {}],
    ['another audience', { aud: 'other' }, {}],
    ['no issuer', { iss: undefined }, {}],
    ['no audience', { aud: undefined }, {}],
    ['no expiry', { exp: undefined }, {}],
    ['no subject', { sub: undefined }, {}],
    ['no id', { jti: undefined }, {}],
    ['no issue time', { iat: undefined }, {}],
    ['a time not yet come', { nbf: Math.floor(Date.parse('2030-01-01') / 1000) }, {}],
    ['no session', { sid: undefined }, {}],
    ['no roles', { roles: [] }, {}],
    ['an unknown role', { roles: ['ROOT'] }, {}],
    ['an unknown role beside a known one', { roles: ['MEMBER', 'ROOT'] }, {}],
    ['roles that are no list', { roles: 'MEMBER' }, {}],
    ['a member without a tenant', { tenant: null }, {}],
    ['a tenant that cannot be one', { tenant: 'acme#x' }, {}],
    ['the platform as a tenant', { tenant: 'platform' }, {}],
    ['an operator with a tenant', { roles: ['PLATFORM_OPERATOR'] }, {}],
    ['an operator who is also an admin of a tenant', { roles: ['TENANT_ADMIN', 'PLATFORM_OPERATOR'] }, {}],
    ['a token of another type', {}, { typ: 'JWT' }],
    ['a token of no type', {}, { typ: undefined }],
    ['another key id', {}, { kid: 'other' }],
  ])('%s', async (_name, changed, header) => {
    const { tokens, forge } = await open();
    const token = await forge(changed, header).catch(() => 'could not be made');
    await expect(tokens.verify(token)).rejects.toMatchObject(refused);
  });

  it('a token of another key, also with our key id, and one that brings its own key', async () => {
    const { tokens, forge } = await open();
    const theirs = await newSigningKey();
    const { kty, crv, x, y } = theirs;
    for (const header of [{}, { kid: undefined }, { jwk: { kty, crv, x, y } }])
      await expect(tokens.verify(await forge({}, header, theirs))).rejects.toMatchObject(refused);
  });

  it('a token that is not signed, or signed with our public key as a secret', async () => {
    const { tokens, payload, header } = await open();
    const none = new UnsecuredJWT(payload).encode();
    const publicKey = new TextEncoder().encode(JSON.stringify(tokens.jwks.keys[0]));
    const hmac = await new SignJWT(payload).setProtectedHeader({ ...header, alg: 'HS256' }).sign(publicKey);
    const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const rsa = await new SignJWT(payload).setProtectedHeader({ ...header, alg: 'RS256' }).sign(privateKey);
    for (const token of [none, hmac, rsa]) await expect(tokens.verify(token)).rejects.toMatchObject(refused);
  });

  it('a token that was altered in any part, and garbage', async () => {
    const { tokens } = await open();
    const { token } = await tokens.issue(CLAIMS);
    const [header, payload, signature] = token.split('.') as [string, string, string];
    const admin = JSON.parse(Buffer.from(payload, 'base64url').toString()) as Record<string, unknown>;
    const raised = Buffer.from(JSON.stringify({ ...admin, roles: ['TENANT_ADMIN'] })).toString('base64url');
    for (const bad of [
      `${header}.${raised}.${signature}`,
      `${header}.${payload}.${signature.slice(0, -4)}AAAA`,
      `${header}.${payload}.`,
      `${header}.${payload}`,
      `${token}.x`,
      '',
      'x',
      '..',
      'null',
      'é.é.é',
      token.repeat(100),
    ])
      await expect(tokens.verify(bad), bad.slice(0, 60)).rejects.toMatchObject(refused);
  });
});

describe('the key', () => {
  it('is published without its private part', async () => {
    const { tokens } = await open();
    expect(tokens.jwks.keys).toHaveLength(1);
    expect(Object.keys(tokens.jwks.keys[0]!).toSorted()).toEqual(['alg', 'crv', 'kid', 'kty', 'use', 'x', 'y']);
    expect(JSON.stringify(tokens.jwks)).not.toContain(signingKey.d);
  });

  it('of another kind is refused at the start', async () => {
    const { options } = await open();
    const rsa = await exportJWK(generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey);
    const p384 = await exportJWK(generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey);
    for (const key of [rsa, p384, {}, { kty: 'oct', k: 'c2VjcmV0' }])
      await expect(createAccessTokens({ ...options, signingKey: key })).rejects.toThrow();
  });

  it('without its private part is refused at the start, not at the first sign-in', async () => {
    const { options } = await open();
    const { kty, crv, x, y } = signingKey as Required<JWK>;
    await expect(createAccessTokens({ ...options, signingKey: { kty, crv, x, y } })).rejects.toThrow();
  });

  describe('that is rotated', () => {
    it('is good before it signs, while it signs, and until it is removed', async () => {
      const { options } = await open();
      const next = await newSigningKey();
      const at = (signing: JWK, ...verificationKeys: JWK[]) =>
        createAccessTokens({ ...options, signingKey: signing, verificationKeys });
      const before = await at(signingKey, next); // step 1: published
      const after = await at(next, signingKey); // step 2: signs
      const done = await at(next); // step 3: the old one is gone
      const [old, fresh] = [(await before.issue(CLAIMS)).token, (await after.issue(CLAIMS)).token];
      for (const token of [old, fresh])
        for (const instance of [before, after])
          expect(await instance.verify(token)).toMatchObject({ userId: CLAIMS.userId });
      expect(await done.verify(fresh)).toMatchObject({ userId: CLAIMS.userId });
      await expect(done.verify(old)).rejects.toMatchObject(refused);
      expect(before.jwks.keys.map(({ kid }) => kid)).toEqual(after.jwks.keys.map(({ kid }) => kid).toReversed());
    });

    it('is published without any private part, though it was configured with it, and once, though it was named twice', async () => {
      const { options } = await open();
      const next = await newSigningKey();
      const { jwks } = await createAccessTokens({ ...options, verificationKeys: [next, next, signingKey] });
      expect(jwks.keys).toHaveLength(2);
      for (const key of jwks.keys)
        expect(Object.keys(key).toSorted()).toEqual(['alg', 'crv', 'kid', 'kty', 'use', 'x', 'y']);
    });
  });

  it('of another instance may be a minute ahead of us, and no more', async () => {
    const { tokens, forge, payload } = await open();
    const ahead = (seconds: number) => forge({ iat: payload.iat! + seconds, exp: payload.exp! + 600 });
    expect(await tokens.verify(await ahead(60))).toMatchObject({ userId: CLAIMS.userId });
    await expect(tokens.verify(await ahead(61))).rejects.toMatchObject(refused);
  });
});
