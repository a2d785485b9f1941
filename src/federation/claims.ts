import { createHash } from 'node:crypto';
import { ulidOf } from '../kernel/ids.ts';
import type { Role } from '../tenancy/principal.ts';
import type { TenantId } from '../tenancy/tenant-id.ts';
import type { TenantIssuer } from './model.ts';

export type Claims = Readonly<Record<string, unknown>>;

/** Roles that an issuer may give: operators are of the platform, and partners are keys. */
export const GIVEN: readonly Role[] = ['TENANT_ADMIN', 'MEMBER'];

const TEXT_CHARACTERS_MAX = 200;

/** A claim that is one text or a list of them. */
export const textsOf = (claims: Claims, name: string): readonly string[] => {
  const value = claims[name];
  return (Array.isArray(value) ? value : [value]).filter(
    (each): each is string => typeof each === 'string' && each !== '',
  );
};

/** A text to show; null for one that is missing, or longer than any of ours. */
export function textOf(claims: Claims, name: string): string | null {
  const value = claims[name];
  const text = typeof value === 'string' ? value.trim() : '';
  return text !== '' && text.length <= TEXT_CHARACTERS_MAX ? text : null;
}

/**
 * For which of these audiences a token is; null for none of them. Amazon Cognito's access tokens name it in `client_id`. A token for
 * several must say that it was issued to one of ours (OpenID Connect Core 1.0, section 3.1.3.7).
 */
export function audienceOf(claims: Claims, accepted: readonly string[]): string | null {
  const use = claims['token_use'];
  if (use !== undefined && use !== 'access' && use !== 'id') return null;
  const named = textsOf(claims, 'aud');
  const [party] = textsOf(claims, 'azp');
  if (named.length > 1 && !(party !== undefined && accepted.includes(party))) return null;
  const candidates = named.length > 0 || use !== 'access' ? named : textsOf(claims, 'client_id');
  return candidates.find((audience) => accepted.includes(audience)) ?? null;
}

/** What these values of the roles claim make somebody; nothing where they are not let in. */
export function rolesOf({ roles, defaultRole }: TenantIssuer, values: readonly string[]): readonly Role[] {
  const given = roles.filter(({ value }) => values.includes(value)).map(({ role }) => role);
  const all = given.length > 0 || defaultRole === null ? given : [defaultRole];
  return GIVEN.filter((role) => all.includes(role));
}

/** The values that a rule asks for: what else the claim holds is nobody's business. */
export const ruledValues = ({ roles }: TenantIssuer, values: readonly string[]): readonly string[] =>
  values.filter((value) => roles.some((rule) => rule.value === value));

const digest = (...parts: readonly string[]): Buffer => createHash('sha256').update(JSON.stringify(parts)).digest();

/** Whoever an issuer calls the same is the same user of the tenant, and of no other. */
export const externalUserId = (tenantId: TenantId, issuer: string, subject: string): string =>
  `user-${ulidOf(digest(tenantId, issuer, subject))}`;

/** Which claims of an issuer's tokens decide who somebody is, where, and as what. */
export const readingOf = ({ tenantClaim, userClaim, rolesClaim }: TenantIssuer): string =>
  digest(tenantClaim?.name ?? '', userClaim, rolesClaim).toString('base64url');

/** What the issuer calls the sign-in that a token comes from: the tokens got by refreshing one have it in common. */
export function signInName(claims: Claims, issuer: string): string {
  const name = ['origin_jti', 'sid', 'auth_time', 'iat'].find((claim) => claims[claim] !== undefined) ?? '';
  return digest(issuer, name, String(claims[name])).toString('hex');
}
