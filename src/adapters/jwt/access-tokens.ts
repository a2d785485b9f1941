import {
  createLocalJWKSet,
  exportJWK,
  importJWK,
  jwtVerify,
  SignJWT,
  calculateJwkThumbprint,
  generateKeyPair,
  type JWK,
} from 'jose';
import { z } from 'zod';
import type { AccessClaims } from '../../auth/model.ts';
import type { AccessTokens } from '../../auth/ports.ts';
import type { Clock } from '../../kernel/clock.ts';
import { ulid } from '../../kernel/ids.ts';
import { tokenRefused, type Principal } from '../../tenancy/principal.ts';
import { parseTenantId } from '../../tenancy/tenant-id.ts';

const ALGORITHM = 'ES256';
/** RFC 9068: the type of a JWT that is an access token, so that no other kind of token passes for one. */
const TYPE = 'at+jwt';
/** How far ahead of ours the clock of the instance that issued a token may be, in seconds. */
const AHEAD_MAX_S = 60;

export interface AccessTokenOptions {
  /** A private key as a JWK: P-256, for ES256 (RFC 7518). */
  readonly signingKey: JWK;
  /** Keys whose tokens are good too: the one before, until its last token has ended, and the next one, so that it is known before it signs. */
  readonly verificationKeys?: readonly JWK[];
  readonly issuer: string;
  readonly audience: string;
  readonly ttlMs: number;
  readonly clock: Clock;
}

/** What we say of the caller; all of it is ours, so anything else is no token of ours. */
const claimsSchema = z.object({
  sub: z.string(),
  exp: z.number(),
  iat: z.number(),
  sid: z.string(),
  name: z.string(),
  email: z.string().nullable(),
  tenant: z.string().nullable(),
  roles: z.array(z.enum(['PLATFORM_OPERATOR', 'TENANT_ADMIN', 'MEMBER', 'PARTNER'])).min(1),
});

export const newSigningKey = async (): Promise<JWK> => {
  const { privateKey } = await generateKeyPair(ALGORITHM, { extractable: true });
  return exportJWK(privateKey);
};

/** What is published of a key: never more than its public part, whatever else was configured. */
async function published({ kty, crv, x, y }: JWK): Promise<JWK & { readonly kid: string }> {
  if (kty !== 'EC' || crv !== 'P-256' || !x || !y) throw new Error('A key of tokens must be a P-256 key (JWK).');
  const key = { kty, crv, x, y };
  return { ...key, kid: await calculateJwkThumbprint(key), alg: ALGORITHM, use: 'sig' };
}

/** Reads the principal of checked claims. A tenant's token names a tenant, an operator's none: anything between is no token of ours. */
function principalOf(payload: unknown, nowMs: number): Principal {
  const claims = claimsSchema.parse(payload);
  if (claims.iat > nowMs / 1000 + AHEAD_MAX_S) throw new Error('issued in the future');
  const tenantId = claims.tenant === null ? null : parseTenantId(claims.tenant);
  if ((tenantId === null) !== claims.roles.includes('PLATFORM_OPERATOR')) throw new Error('tenant and roles disagree');
  const { sub: userId, sid: sessionId, name, email, roles, exp } = claims;
  const credential = { kind: 'SESSION', sessionId } as const;
  return { userId, name, email, roles, tenantId, credential, expiresAt: exp * 1000 };
}

/** Access tokens as JWTs (RFC 7519, RFC 9068), signed with ES256; algorithm, type, issuer, audience and key are pinned. */
export async function createAccessTokens(
  options: AccessTokenOptions,
): Promise<AccessTokens & { jwks: { keys: JWK[] } }> {
  const { signingKey, verificationKeys = [], issuer, audience, ttlMs, clock } = options;
  if (!signingKey.d) throw new Error('The signing key must be a private key (JWK).');
  const { kid } = await published(signingKey);
  const privateKey = await importJWK(signingKey, ALGORITHM);
  const keys = await Promise.all([signingKey, ...verificationKeys].map(published));
  // A key that is named twice is one key: two of one id would be none to choose from.
  const jwks = { keys: [...new Map(keys.map((key) => [key.kid, key])).values()] };
  const keySet = createLocalJWKSet(jwks);

  return {
    jwks,
    async issue(claims: AccessClaims) {
      const { userId, sessionId, name, email, roles, tenantId } = claims;
      const issuedAt = Math.floor(clock.now() / 1000);
      const expiresAt = issuedAt + Math.floor(ttlMs / 1000);
      const token = await new SignJWT({ sid: sessionId, name, email, tenant: tenantId, roles: [...roles] })
        .setProtectedHeader({ alg: ALGORITHM, typ: TYPE, kid })
        .setIssuer(issuer)
        .setAudience(audience)
        .setSubject(userId)
        .setJti(ulid(clock.now()))
        .setIssuedAt(issuedAt)
        .setExpirationTime(expiresAt)
        .sign(privateKey);
      const credential = { kind: 'SESSION', sessionId } as const;
      return { token, principal: { userId, name, email, roles, tenantId, credential, expiresAt: expiresAt * 1000 } };
    },
    async verify(token) {
      try {
        const { payload } = await jwtVerify(token, keySet, {
          algorithms: [ALGORITHM],
          typ: TYPE,
          issuer,
          audience,
          currentDate: new Date(clock.now()),
          requiredClaims: ['exp', 'iat', 'sub', 'jti'],
        });
        return principalOf(payload, clock.now());
      } catch (error) {
        throw tokenRefused({ cause: error });
      }
    },
  };
}
