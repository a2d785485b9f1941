import { createAccessTokens, type AccessTokenOptions } from './adapters/jwt/access-tokens.ts';
import type { DynamoDb } from './adapters/dynamodb/index.ts';
import { createIssuerKeys, type IssuerKeysLog } from './adapters/oidc/issuer-keys.ts';
import { createExternalTokens } from './adapters/oidc/token-verifier.ts';
import { countRefusals, createAttemptLimiter } from './auth/attempts.ts';
import { createPasswordCheck } from './auth/password-check.ts';
import { createPasswordService } from './auth/password-service.ts';
import type { AuthLog, OpenAttemptCounter, Origin, PasswordHasher } from './auth/ports.ts';
import { createAuthService } from './auth/service.ts';
import { createSessions } from './auth/sessions.ts';
import { remembered, sessionRoles } from './auth/standing.ts';
import type { Config } from './config.ts';
import { createExternalAuthentication } from './federation/authentication.ts';
import type { FederationLog } from './federation/ports.ts';
import { createIssuerService } from './federation/service.ts';
import type { Clock } from './kernel/clock.ts';
import { PLATFORM, type TenantId } from './tenancy/tenant-id.ts';
import { isInUse, type Tenant } from './tenants/model.ts';
import type { SignInEvent } from './usage/model.ts';

export interface IdentityDependencies {
  readonly config: Pick<Config, 'jwt' | 'storage'>;
  readonly signingKey: AccessTokenOptions['signingKey'];
  readonly db: DynamoDb;
  readonly findTenant: (id: TenantId) => Promise<Tenant | null>;
  readonly attemptCounters: OpenAttemptCounter;
  readonly hasher: PasswordHasher;
  readonly recordSignIn: (tenantId: TenantId, signIn: SignInEvent) => Promise<void>;
  readonly clock: Clock;
  readonly log: AuthLog & FederationLog & IssuerKeysLog;
}

/** Who is calling: with a password and the sessions that follow from it, or with the token of a tenant's issuer. */
export async function assembleIdentity(deps: IdentityDependencies) {
  const { config, signingKey, db, findTenant, attemptCounters, hasher, recordSignIn, clock, log } = deps;
  const { issuer, audience, accessTtlMs, refreshTtlMs, verificationKeys } = config.jwt;
  const tokens = await createAccessTokens({
    ...{ signingKey, verificationKeys, issuer, audience, ttlMs: accessTtlMs, clock },
  });
  const isOpen = async (home: TenantId) => home === PLATFORM || isInUse(await findTenant(home));
  const accountsOf = (home: TenantId) => db.forTenant(home).users;
  const sessionsOf = (home: TenantId) => db.forTenant(home).sessions;
  const meter = { recordSignIn };

  const attempts = createAttemptLimiter(attemptCounters);
  const checkPassword = createPasswordCheck({ accountsOf, isOpen, hasher, attempts, clock });
  const sessions = createSessions({ sessionsOf, isOpen, tokens, meter, log, clock, refreshTtlMs });
  const passwords = createPasswordService({
    passwordsOf: (home) => db.forTenant(home).passwords,
    ...{ sessionsOf, isOpen, checkPassword, sessions, attempts, hasher, clock },
  });

  const check = createIssuerKeys({ loopback: config.storage.kind === 'embedded', clock, log });
  const externalTokens = createExternalTokens({ keys: check, clock });
  const issuersOf = (tenantId: TenantId) => db.forTenant(tenantId).issuers;
  const external = createExternalAuthentication({
    ...{ tokens: externalTokens, directory: db.issuers, issuersOf, isOpen, meter, log, clock },
    usersOf: (tenantId) => db.forTenant(tenantId).externalUsers,
    refused: countRefusals(attemptCounters, 'issuer'),
  });
  const federation = { issuersOf, directory: db.issuers, check, ownIssuer: issuer, changed: external.changed };

  return {
    auth: createAuthService({ checkPassword, sessions, attempts, clock }),
    passwords,
    issuersOf: (tenantId: TenantId) => createIssuerService({ tenantId, ...federation }),
    jwks: tokens.jwks,
    tokens: {
      verify: (token: string, origin: Origin) =>
        externalTokens.issuerOf(token) === issuer ? tokens.verify(token) : external.verify(token, origin),
    },
    rolesNow: { SESSION: remembered(sessionRoles(sessionsOf), clock), EXTERNAL: external.rolesNow },
  };
}
