import { decodeJwt, decodeProtectedHeader, jwtVerify } from 'jose';
import type { ExternalTokens } from '../../federation/ports.ts';
import type { Clock } from '../../kernel/clock.ts';
import type { IssuerKeys } from './issuer-keys.ts';

/** Signatures by a key that only the issuer has: never `none`, and no HS256, whose key is the verifier's too. */
const ALGORITHMS = [
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
  'ES256',
  'ES384',
  'ES512',
  'EdDSA',
  'Ed25519',
];
/** What ID tokens and access tokens say they are (RFC 7519, RFC 9068). What is made for something else says so. */
const TYPES: readonly unknown[] = [undefined, 'jwt', 'at+jwt', 'application/at+jwt'];
/** How far an issuer's clock may be from ours, in seconds. */
const CLOCK_TOLERANCE_S = 30;
/** No token is good for longer after it was issued, whatever it says. A day is the longest that Amazon Cognito grants. */
const AGE_MAX_S = 86_400;

/** The tokens of OIDC issuers, verified with jose. */
export function createExternalTokens({
  keys,
  clock,
}: {
  readonly keys: IssuerKeys;
  readonly clock: Clock;
}): ExternalTokens {
  return {
    issuerOf(token) {
      try {
        const { iss } = decodeJwt<{ readonly iss?: unknown }>(token);
        return typeof iss === 'string' ? iss : null;
      } catch {
        return null;
      }
    },
    async verify(token, issuer) {
      const { typ } = decodeProtectedHeader(token);
      if (!TYPES.includes(typeof typ === 'string' ? typ.toLowerCase() : typ)) throw new Error('another type of token');
      const { payload } = await jwtVerify(token, keys.of(issuer), {
        ...{ algorithms: ALGORITHMS, issuer, clockTolerance: CLOCK_TOLERANCE_S, maxTokenAge: AGE_MAX_S },
        ...{ currentDate: new Date(clock.now()), requiredClaims: ['exp', 'iat'] },
      });
      const { exp = 0, iat = 0 } = payload;
      return { claims: payload, expiresAt: Math.min(exp, iat + AGE_MAX_S) * 1000 };
    },
  };
}
