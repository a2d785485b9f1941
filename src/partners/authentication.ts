import { isoTime, type Clock } from '../kernel/clock.ts';
import { AppError } from '../kernel/errors.ts';
import { createRecentReads } from '../kernel/recent-reads.ts';
import { apiKeyRefused, parseApiKey } from '../tenancy/api-key.ts';
import type { Principal, Role } from '../tenancy/principal.ts';
import { isSameHash } from '../tenancy/secret.ts';
import type { TenantId } from '../tenancy/tenant-id.ts';
import { isLive, type StoredApiKey } from './model.ts';
import type { ApiKeyStore, RefusedKeys } from './ports.ts';

/** How long an instance may go on with what it read of a key, in milliseconds. */
export const KEY_CACHE_MS = 25_000;
/** Keys that are remembered, those that do not exist included. */
const KEYS_CACHED_MAX = 10_000;
/** How often an instance notes that a key is in use, in milliseconds. */
export const USE_NOTED_EVERY_MS = 60_000;

const PARTNER: readonly Role[] = ['PARTNER'];
/** Compared where there is no key, so that an unknown one takes as long as a wrong one. */
const NO_HASH = 'A'.repeat(43);

/** Finds out who holds an API key. */
export interface ApiKeyAuthentication {
  /**
   * Who sends this key. A key costs one read in 25 s, whatever number of requests it comes with.
   * @throws UNAUTHENTICATED, the same whether it is misspelt, unknown, expired or revoked; RATE_LIMITED for an address that keeps sending such keys.
   */
  principalOf(text: string, ipAddress: string | null): Promise<Principal>;
  /** The roles a key gives now: none any more once it was revoked or has expired. */
  readonly rolesNow: (principal: Principal) => Promise<readonly Role[] | null>;
  /** Notes that somebody who was let in with a key is using it, on a connection that may be open for long. */
  readonly noteUse: (key: Pick<StoredApiKey, 'tenantId' | 'id'>) => void;
  /** A key as it was at most 25 s ago; null where there is none. */
  readonly find: (tenantId: TenantId, id: string) => Promise<StoredApiKey | null>;
  /** Told of a key that this instance has just changed: it knows it at once. */
  readonly changed: (key: StoredApiKey) => void;
  /** Resolves once the use of keys is noted as far as it is known. */
  idle(): Promise<void>;
}

export interface ApiKeyAuthenticationDependencies {
  readonly storeOf: (tenantId: TenantId) => Pick<ApiKeyStore, 'get' | 'used'>;
  readonly refused: RefusedKeys;
  readonly clock: Clock;
  /** Told when a use could not be noted; the next one, a minute later, tries again. */
  readonly noteFailed: (error: unknown) => void;
}

export function createApiKeyAuthentication(deps: ApiKeyAuthenticationDependencies): ApiKeyAuthentication {
  const { storeOf, refused, clock, noteFailed } = deps;
  const recent = createRecentReads<string, StoredApiKey | null>({
    clock,
    maxAgeMs: KEY_CACHE_MS,
    keysMax: KEYS_CACHED_MAX,
  });
  /** When each key that has proved itself here was last noted as used, in the order of those times. */
  const noted = new Map<string, number>();
  const noting = new Set<Promise<void>>();

  const nameOf = (tenantId: TenantId, id: string) => `${tenantId} ${id}`;
  const find = (tenantId: TenantId, id: string) => recent.get(nameOf(tenantId, id), () => storeOf(tenantId).get(id));

  /** Beside the request: nobody waits for it. */
  function noteUse({ tenantId, id }: Pick<StoredApiKey, 'tenantId' | 'id'>) {
    const name = nameOf(tenantId, id);
    const now = clock.now();
    if (now - (noted.get(name) ?? -Infinity) < USE_NOTED_EVERY_MS) return;
    noted.delete(name);
    noted.set(name, now);
    const [oldest = name] = noted.keys();
    if (noted.size > KEYS_CACHED_MAX) noted.delete(oldest);
    const note = storeOf(tenantId).used(id, isoTime(now)).catch(noteFailed);
    noting.add(note);
    void note.finally(() => noting.delete(note));
  }

  /** What an address may cost that only guesses: a key that was right before is looked at whatever else comes from there. */
  async function checkAddress(name: string, ipAddress: string | null) {
    const retryAfterMs = noted.has(name) ? 0 : await refused.wait(ipAddress);
    if (retryAfterMs > 0)
      throw new AppError('RATE_LIMITED', 'Too many API keys from your address were refused.', { retryAfterMs });
  }

  return {
    async principalOf(text, ipAddress) {
      const presented = parseApiKey(text);
      if (!presented) throw apiKeyRefused();
      const { tenantId, id, secretHash } = presented;
      await checkAddress(nameOf(tenantId, id), ipAddress);
      const key = await find(tenantId, id);
      const matches = isSameHash(key?.secretHash ?? NO_HASH, secretHash);
      if (!key || !matches || !isLive(key, clock.now())) {
        await refused.add(ipAddress);
        throw apiKeyRefused();
      }
      noteUse(key);
      return {
        ...{ userId: key.id, name: key.name, email: null, roles: PARTNER, tenantId },
        credential: { kind: 'API_KEY', scopes: key.scopes },
        expiresAt: key.expiresAt === null ? Infinity : Date.parse(key.expiresAt),
      };
    },
    async rolesNow({ tenantId, userId }) {
      const key = tenantId && (await find(tenantId, userId));
      return key && isLive(key, clock.now()) ? PARTNER : null;
    },
    noteUse,
    find,
    changed: (key) => recent.put(nameOf(key.tenantId, key.id), key),
    async idle() {
      await Promise.all(noting);
    },
  };
}
