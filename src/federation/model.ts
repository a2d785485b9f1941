import type { Role } from '../tenancy/principal.ts';
import type { TenantId } from '../tenancy/tenant-id.ts';

/** A claim whose value names the tenant, where several share an issuer. */
export interface TenantClaim {
  readonly name: string;
  /** This tenant's value of it; where the claim is a list, one of its entries. */
  readonly value: string;
}

/** Whoever has this value in the roles claim has this role. */
export interface RoleRule {
  readonly value: string;
  readonly role: Role;
}

/** An OIDC issuer whose tokens one tenant accepts. */
export interface TenantIssuer {
  /** The `iss` of its tokens, to the character. */
  readonly issuer: string;
  /** The `aud` of its tokens, or the `client_id` of Amazon Cognito's access tokens, that are for this API. */
  readonly audiences: readonly string[];
  /** Null: the issuer is this tenant's alone. */
  readonly tenantClaim: TenantClaim | null;
  /** The claims that say who somebody is, and what they are called. */
  readonly userClaim: string;
  readonly emailClaim: string;
  readonly nameClaim: string;
  readonly rolesClaim: string;
  readonly roles: readonly RoleRule[];
  /** What somebody is to whom no rule gives a role; null: they are not let in. */
  readonly defaultRole: Role | null;
}

/** Every issuer of one tenant. */
export interface IssuerSettings {
  readonly issuers: readonly TenantIssuer[];
  /** Grows by one with every change; 0: there never were any. */
  readonly version: number;
}

/** The same, and whose they are. */
export interface TenantIssuers extends IssuerSettings {
  readonly tenantId: TenantId;
}

/** Whose an issuer's tokens are: one tenant's, or that of the tenant which their claim names. */
export type IssuerKind = { readonly kind: 'DEDICATED' } | { readonly kind: 'SHARED'; readonly claim: string };

/** Somebody as an issuer's token describes them. */
export interface ExternalUser {
  readonly userId: string;
  readonly issuer: string;
  /** Who they are to the issuer. */
  readonly subject: string;
  /** Null where the token does not say it. */
  readonly name: string | null;
  readonly email: string | null;
  readonly roles: readonly Role[];
}

/** What is known of an external user. */
export interface SeenUser {
  readonly name: string;
  readonly email: string | null;
  readonly disabled: boolean;
}
