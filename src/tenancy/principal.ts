import { AppError } from '../kernel/errors.ts';
import { ulid, ULID_PATTERN } from '../kernel/ids.ts';
import { isApiKeyId } from './api-key.ts';
import type { TenantId } from './tenant-id.ts';

export type Role = 'PLATFORM_OPERATOR' | 'TENANT_ADMIN' | 'MEMBER' | 'PARTNER';

/** What a program with an API key may do at all. */
export type ApiKeyScope = 'READ' | 'CONVERSE';

/** What a caller may prove themselves with, by its kind. */
interface Credentials {
  readonly SESSION: { readonly sessionId: string };
  /** A token of one of the tenant's OIDC issuers. */
  readonly EXTERNAL: {
    /** The sign-in that the token comes from. */
    readonly sessionId: string;
    readonly issuer: string;
    readonly audience: string;
    /** The value of the tenant claim that let them in; null with an issuer of the tenant's own. */
    readonly tenantValue: string | null;
    /** Values of the roles claim for which there was a rule. */
    readonly roleValues: readonly string[];
    /** Which claims said all this: a digest of their names, as the tenant had set them. */
    readonly reading: string;
  };
  readonly API_KEY: { readonly scopes: readonly ApiKeyScope[] };
}

export type CredentialKind = keyof Credentials;

/** What a caller proved themselves with. */
export type Credential<K extends CredentialKind = CredentialKind> = {
  [Kind in K]: { readonly kind: Kind } & Credentials[Kind];
}[K];

/** Who is calling, as proved by a credential. */
export interface Principal {
  readonly userId: string;
  readonly name: string;
  readonly email: string | null;
  readonly roles: readonly Role[];
  /** The tenant the caller belongs to; null for a platform operator. */
  readonly tenantId: TenantId | null;
  readonly credential: Credential;
  /** When the credential ends, in milliseconds since the Unix epoch. */
  readonly expiresAt: number;
}

/** The sign-in that the credential comes from, where it comes from one. */
export const signInOf = ({ credential }: Principal): string | null =>
  'sessionId' in credential ? credential.sessionId : null;

/** Who did something, as far as a record of it needs to know. */
export type Actor = Pick<Principal, 'userId' | 'tenantId' | 'roles'>;

export const isOperator = (principal: Pick<Principal, 'roles'>): boolean =>
  principal.roles.includes('PLATFORM_OPERATOR');

/** The one answer to every access token that does not, or no longer, prove who is calling: which check failed is nobody's business but ours. */
export const tokenRefused = (options?: ErrorOptions): AppError =>
  new AppError('UNAUTHENTICATED', 'The access token is not valid, or has expired.', {}, options);

const USER_ID = new RegExp(`^user-${ULID_PATTERN}$`);

export const newUserId = (nowMs: number): string => `user-${ulid(nowMs)}`;
export const isUserId = (text: string): boolean => USER_ID.test(text);

/** Whether this may be the id of somebody who owns things: a user, or an API key, which owns as a user of its own name. */
export const isOwnerId = (text: string): boolean => isUserId(text) || isApiKeyId(text);
