import type { Clock } from '../kernel/clock.ts';
import { AppError } from '../kernel/errors.ts';
import { createRecentReads } from '../kernel/recent-reads.ts';
import { tokenRefused, type Credential, type Principal, type Role } from '../tenancy/principal.ts';
import type { TenantId } from '../tenancy/tenant-id.ts';
import {
  audienceOf,
  externalUserId,
  readingOf,
  rolesOf,
  ruledValues,
  signInName,
  textOf,
  textsOf,
  type Claims,
} from './claims.ts';
import type { IssuerKind, IssuerSettings, SeenUser, TenantIssuer } from './model.ts';
import type {
  ExternalSignInMeter,
  ExternalTokens,
  ExternalUserStore,
  FederationLog,
  IssuerDirectory,
  IssuerStore,
  Origin,
  RefusedIssuers,
} from './ports.ts';

/** How long an instance may go on with what it read, in milliseconds. */
export const FEDERATION_CACHE_MS = 25_000;
const CACHED_MAX = 10_000;
const USERS_CACHED_MAX = 100_000;
/** Values of a tenant claim that are looked up. */
const TENANT_VALUES_MAX = 20;
const ISSUER_CHARACTERS_MAX = 512;

/** Finds out who sends an issuer's token. */
export interface ExternalAuthentication {
  /**
   * @throws UNAUTHENTICATED, the same for every token that is not good.
   * @throws RATE_LIMITED with `retryAfterMs` for an address that keeps naming issuers that no tenant has.
   */
  verify(token: string, origin: Origin): Promise<Principal>;
  /** The roles that the tenant gives for this token now; null once it does not accept it any more, or disabled the user. */
  readonly rolesNow: (principal: Principal, credential: Credential<'EXTERNAL'>) => Promise<readonly Role[] | null>;
  /** Told of a tenant whose issuers this instance has just changed: it knows them at once. */
  readonly changed: (tenantId: TenantId, settings: IssuerSettings) => void;
}

export interface ExternalAuthenticationDependencies {
  readonly tokens: ExternalTokens;
  readonly directory: Pick<IssuerDirectory, 'kindOf' | 'tenantOf'>;
  readonly issuersOf: (tenantId: TenantId) => Pick<IssuerStore, 'get'>;
  readonly usersOf: (tenantId: TenantId) => ExternalUserStore;
  /** Whether anybody may be signed in there. */
  readonly isOpen: (tenantId: TenantId) => Promise<boolean>;
  readonly refused: RefusedIssuers;
  readonly meter: ExternalSignInMeter;
  readonly log: FederationLog;
  readonly clock: Clock;
}

/** A tenant, and its issuer that a token is of. */
interface Acceptance {
  readonly tenantId: TenantId;
  readonly accepted: TenantIssuer;
}

export function createExternalAuthentication(deps: ExternalAuthenticationDependencies): ExternalAuthentication {
  const { tokens, directory, issuersOf, usersOf, isOpen, refused, meter, log, clock } = deps;
  const remembering = <V>(keysMax: number) =>
    createRecentReads<string, V>({ clock, maxAgeMs: FEDERATION_CACHE_MS, keysMax });
  const kinds = remembering<IssuerKind | null>(CACHED_MAX);
  const tenants = remembering<TenantId | null>(CACHED_MAX);
  const settings = remembering<IssuerSettings>(CACHED_MAX);
  /** What tokens said of users, and what is known of users. */
  const told = remembering<SeenUser>(USERS_CACHED_MAX);
  const seen = remembering<SeenUser | null>(USERS_CACHED_MAX);
  const signIns = remembering<string>(USERS_CACHED_MAX);

  /** Issuers that some tenant had: those are looked up again whatever else comes from an address. */
  const taken = new Set<string>();

  async function kindOf(issuer: string, { ipAddress }: Origin): Promise<IssuerKind | null> {
    if (issuer.length > ISSUER_CHARACTERS_MAX) return null;
    const retryAfterMs = taken.has(issuer) ? 0 : await refused.wait(ipAddress);
    if (retryAfterMs > 0)
      throw new AppError('RATE_LIMITED', 'Too many tokens of unknown issuers came from your address.', {
        retryAfterMs,
      });
    const kind = await kinds.get(issuer, () => directory.kindOf(issuer));
    if (kind) taken.add(issuer);
    else await refused.add(ipAddress);
    return kind;
  }

  const tenantNamed = (issuer: string, value: string | null) =>
    tenants.get(JSON.stringify([issuer, value]), () => directory.tenantOf(issuer, value));

  /** The tenant's own word on an issuer: what the directory says is only where to ask. */
  async function acceptedBy(tenantId: TenantId, issuer: string, values: readonly (string | null)[]) {
    const { issuers } = await settings.get(tenantId, () => issuersOf(tenantId).get());
    const found = issuers.find((each) => each.issuer === issuer);
    return found && values.includes(found.tenantClaim?.value ?? null) ? found : null;
  }

  /** The one tenant that a token is of. One that names two is of neither. */
  async function acceptanceOf(issuer: string, kind: IssuerKind, claims: Claims): Promise<Acceptance | null> {
    const values = kind.kind === 'SHARED' ? textsOf(claims, kind.claim) : [null];
    if (values.length > TENANT_VALUES_MAX) return null;
    const found = new Set(await Promise.all(values.map((value) => tenantNamed(issuer, value))));
    found.delete(null);
    const [tenantId, another] = found;
    if (!tenantId || another || !(await isOpen(tenantId))) return null;
    const accepted = await acceptedBy(tenantId, issuer, values);
    const claim = kind.kind === 'SHARED' ? kind.claim : null;
    return accepted && (accepted.tenantClaim?.name ?? null) === claim ? { tenantId, accepted } : null;
  }

  /** The user as they are known, and the sign-in of the token. */
  async function meet(tenantId: TenantId, user: Parameters<ExternalUserStore['see']>[0], name: string, origin: Origin) {
    const startedAt = clock.now();
    const { userId, issuer } = user;
    const users = usersOf(tenantId);
    const known = await told.get(JSON.stringify([tenantId, user]), async () => {
      const read = await users.see(user);
      seen.put(`${tenantId} ${userId}`, read); // as old as this read, and no younger
      return read;
    });
    const signInId = await signIns.get(`${tenantId} ${userId} ${name}`, async () => {
      const { id, first, counted } = await users.signIn(userId, name);
      if (first) log.signedIn({ tenantId, userId, signInId: id, issuer, origin });
      if (counted) return id;
      // By its id, which makes one of it however often it is recorded: also by several instances, or again after a crash.
      const latencyMs = clock.now() - startedAt;
      await meter.recordSignIn(tenantId, { id, userId, identityProvider: 'OIDC', latencyMs });
      await users.counted(userId, name);
      return id;
    });
    return { known, signInId };
  }

  async function identify(token: string, issuer: string, origin: Origin): Promise<Principal | null> {
    const kind = await kindOf(issuer, origin);
    if (!kind) return null;
    const { claims, expiresAt } = await tokens.verify(token, issuer).catch((cause: unknown) => {
      throw tokenRefused({ cause });
    });
    const acceptance = await acceptanceOf(issuer, kind, claims);
    if (!acceptance) return null;
    const { tenantId, accepted } = acceptance;
    const [subject, another] = textsOf(claims, accepted.userClaim);
    const audience = audienceOf(claims, accepted.audiences);
    const roleValues = ruledValues(accepted, textsOf(claims, accepted.rolesClaim));
    const roles = rolesOf(accepted, roleValues);
    if (!subject || another || audience === null || roles.length === 0) return null;

    const userId = externalUserId(tenantId, issuer, subject);
    const email = textOf(claims, accepted.emailClaim);
    const user = { ...{ userId, issuer, subject, roles, email }, name: textOf(claims, accepted.nameClaim) };
    const { known, signInId } = await meet(tenantId, user, signInName(claims, issuer), origin);
    const tenantValue = accepted.tenantClaim?.value ?? null;
    return {
      ...{ userId, name: known.name, email: known.email, roles, tenantId, expiresAt },
      credential: {
        kind: 'EXTERNAL',
        sessionId: signInId,
        issuer,
        audience,
        tenantValue,
        roleValues,
        reading: readingOf(accepted),
      },
    };
  }

  return {
    async verify(token, origin) {
      const issuer = tokens.issuerOf(token);
      if (issuer === null) throw tokenRefused();
      const principal = await identify(token, issuer, origin);
      if (!principal) throw tokenRefused();
      return principal;
    },

    async rolesNow({ tenantId, userId }, { issuer, audience, tenantValue, roleValues, reading }) {
      const accepted = tenantId && (await acceptedBy(tenantId, issuer, [tenantValue]));
      if (!accepted || !accepted.audiences.includes(audience) || readingOf(accepted) !== reading) return null;
      const known = await seen.get(`${tenantId} ${userId}`, () => usersOf(tenantId).known(userId));
      return known && !known.disabled ? rolesOf(accepted, roleValues) : null;
    },

    changed(tenantId, next) {
      settings.put(tenantId, next);
      for (const { issuer, tenantClaim } of next.issuers) {
        kinds.put(issuer, tenantClaim ? { kind: 'SHARED', claim: tenantClaim.name } : { kind: 'DEDICATED' });
        tenants.put(JSON.stringify([issuer, tenantClaim?.value ?? null]), tenantId);
      }
    },
  };
}
