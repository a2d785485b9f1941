import type { TenantId } from '../tenancy/tenant-id.ts';
import type { ExternalUser, IssuerKind, IssuerSettings, SeenUser, TenantIssuer } from './model.ts';

/** A verified token. */
export interface ExternalToken {
  readonly claims: Readonly<Record<string, unknown>>;
  /** When it ends, in milliseconds since the Unix epoch. */
  readonly expiresAt: number;
}

/** The tokens of OIDC issuers. */
export interface ExternalTokens {
  /** Whom a token claims to be from. It proves nothing; null for what is no token. */
  issuerOf(token: string): string | null;
  /** The claims of a token that this issuer signed and whose time it is. Whom it is for is not looked at. @throws for any other. */
  verify(token: string, issuer: string): Promise<ExternalToken>;
}

/** Whether an issuer is there. */
export interface IssuerCheck {
  /** Why its tokens could not be verified, in words for whoever chose it; null: its keys were found. */
  faultOf(issuer: string): Promise<string | null>;
}

/** The issuers of one tenant: the only place that says which it accepts. */
export interface IssuerStore {
  get(): Promise<IssuerSettings>;
  /** Stores `next` in place of the version before it. False when that is not the stored one (any more): nothing is changed then. */
  replace(next: IssuerSettings): Promise<boolean>;
}

/** By issuer, which tenant to ask: an index of what the tenants say, which by itself lets nobody in. */
export interface IssuerDirectory {
  /** Null where nobody has the issuer. */
  kindOf(issuer: string): Promise<IssuerKind | null>;
  /** The tenant that has the issuer, or has it under this value of its claim. */
  tenantOf(issuer: string, value: string | null): Promise<TenantId | null>;
  /** Enters a tenant. Resolves with the tenant that is entered then: another one, if it was there before. */
  enter(tenantId: TenantId, entry: Pick<TenantIssuer, 'issuer' | 'tenantClaim'>): Promise<TenantId>;
  /** Enters a tenant in place of another, if that is still the one. */
  overtake(tenantId: TenantId, from: TenantId, entry: Pick<TenantIssuer, 'issuer' | 'tenantClaim'>): Promise<boolean>;
  /** Removes the tenant's own entry. */
  remove(tenantId: TenantId, entry: Pick<TenantIssuer, 'issuer' | 'tenantClaim'>): Promise<void>;
}

/** A sign-in of which a token was seen. */
export interface StoredSignIn {
  readonly id: string;
  /** Nobody has asked for it before. */
  readonly first: boolean;
  /** It is in the usage. */
  readonly counted: boolean;
}

/** The external users of one tenant. */
export interface ExternalUserStore {
  /** The user as they are known then: stored when they were not known, and changed where the token says something new. */
  see(user: ExternalUser): Promise<SeenUser>;
  /** The user as they are known; null when they are not, or no more. */
  known(userId: string): Promise<SeenUser | null>;
  /** The sign-in that the issuer knows by this name. */
  signIn(userId: string, name: string): Promise<StoredSignIn>;
  /** Notes that a sign-in was counted as usage. */
  counted(userId: string, name: string): Promise<void>;
}

/** How somebody signed in. */
export interface ExternalSignIn {
  readonly id: string;
  readonly userId: string;
  readonly identityProvider: 'OIDC';
  readonly latencyMs: number;
}

/** Counts sign-ins as usage. */
export interface ExternalSignInMeter {
  recordSignIn(tenantId: TenantId, signIn: ExternalSignIn): Promise<void>;
}

/** Counts tokens of issuers that nobody has, by the address they came from: each of them is looked up. */
export interface RefusedIssuers {
  /** Milliseconds that an address has to wait before another one of it is looked up; 0: none. */
  wait(ipAddress: string | null): Promise<number>;
  add(ipAddress: string | null): Promise<void>;
}

/** Where a request came from. */
export interface Origin {
  readonly ipAddress: string | null;
  readonly userAgent: string | null;
}

/** Told of sign-ins that this API only learns of by their tokens. It must not throw, nor keep anybody waiting. */
export interface FederationLog {
  signedIn(signIn: {
    readonly tenantId: TenantId;
    readonly userId: string;
    readonly signInId: string;
    readonly issuer: string;
    readonly origin: Origin;
  }): void;
}
