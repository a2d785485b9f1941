import type { Clock } from '../kernel/clock.ts';
import { createRecentReads } from '../kernel/recent-reads.ts';
import { apiKeyRefused } from '../tenancy/api-key.ts';
import { tokenRefused, type Credential, type CredentialKind, type Principal, type Role } from '../tenancy/principal.ts';
import { PLATFORM, type TenantId } from '../tenancy/tenant-id.ts';
import type { SessionStore } from './ports.ts';

/** How long an instance may go on with what it read of a credential, in milliseconds. */
export const STANDING_CACHE_MS = 25_000;
const CREDENTIALS_CACHED_MAX = 100_000;

/** The roles that a credential of one kind gives its holder now, or gave them less than 25 s ago; null once it gives none: it was withdrawn, or whoever held it is gone. */
export type RolesNow<K extends CredentialKind = CredentialKind> = (
  principal: Principal,
  credential: Credential<K>,
) => Promise<readonly Role[] | null>;

/** Whether what somebody proved themselves with still counts. Asked for every request, for every event of a subscription, and while there are none. */
export interface Standing {
  /**
   * Looks at the credential as it was at most 25 s ago, which is one read of the store at most.
   * @throws UNAUTHENTICATED once it has expired or was withdrawn, or gives other roles than it did: those of the principal are not to be used any more.
   */
  check(principal: Principal): Promise<void>;
}

export interface StandingDependencies {
  /** One for every kind of credential there is. Each remembers by itself what it has read. */
  readonly rolesNow: { readonly [K in CredentialKind]: RolesNow<K> };
  readonly clock: Clock;
}

const refused = (kind: CredentialKind) => (kind === 'API_KEY' ? apiKeyRefused() : tokenRefused());

export function createStanding({ rolesNow, clock }: StandingDependencies): Standing {
  const look = <K extends CredentialKind>(principal: Principal, credential: Credential<K>) =>
    rolesNow[credential.kind](principal, credential);

  return {
    async check(principal) {
      const { credential, roles, expiresAt } = principal;
      if (expiresAt <= clock.now()) throw refused(credential.kind);
      const now = await look(principal, credential);
      if (now === null || !sameRoles(now, roles)) throw refused(credential.kind);
    },
  };
}

const sameRoles = (a: readonly Role[], b: readonly Role[]): boolean =>
  a.length === b.length && a.every((role) => b.includes(role));

/** Reads once in 25 s, for all who ask about the same credential. */
export function remembered<K extends CredentialKind>(read: RolesNow<K>, clock: Clock): RolesNow<K> {
  const recent = createRecentReads<string, readonly Role[] | null>({
    clock,
    maxAgeMs: STANDING_CACHE_MS,
    keysMax: CREDENTIALS_CACHED_MAX,
  });
  return (principal, credential) => {
    const key = JSON.stringify([principal.tenantId, principal.userId, credential]);
    return recent.get(key, () => read(principal, credential));
  };
}

/** A session gives the roles of its account, until it is ended or the account is gone or disabled. */
export const sessionRoles =
  (sessionsOf: (home: TenantId) => Pick<SessionStore, 'accountOf'>): RolesNow<'SESSION'> =>
  async ({ tenantId, userId }, { sessionId }) => {
    const account = await sessionsOf(tenantId ?? PLATFORM).accountOf(userId, sessionId);
    return account && !account.disabled ? account.roles : null;
  };
