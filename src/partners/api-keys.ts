import { isoTime, type Clock } from '../kernel/clock.ts';
import { AppError, badInput } from '../kernel/errors.ts';
import { apiKeyPrefix, isApiKeyId, newApiKeyId, writeApiKey } from '../tenancy/api-key.ts';
import { checkName } from '../tenancy/names.ts';
import type { ApiKeyScope } from '../tenancy/principal.ts';
import type { TenantScope } from '../tenancy/scope.ts';
import { hashOfSecret, newSecret } from '../tenancy/secret.ts';
import { isLive, type ApiKey, type ApiKeyEnforcement, type StoredApiKey } from './model.ts';
import { checkOperationIds } from './operation-id.ts';
import type { ApiKeyStore, OperationUsageStore } from './ports.ts';
import { usageOfKey, type OperationUsage } from './usage.ts';

/** Keys of a tenant that may be used at the same time. */
export const LIVE_KEYS_MAX = 100;
/** Keys in the list that can be used no longer: the newest ones. */
export const ENDED_KEYS_SHOWN_MAX = 100;

const SCOPES: readonly ApiKeyScope[] = ['READ', 'CONVERSE'];

export interface NewApiKey {
  readonly name: string;
  readonly scopes: readonly ApiKeyScope[];
  /** Left out: every published operation. */
  readonly operationIds?: readonly string[] | null | undefined;
  readonly enforcement?: ApiKeyEnforcement;
  readonly expiresAt?: Date | null | undefined;
}

/** The API keys of one tenant, as its administrators administer them. */
export interface ApiKeyService {
  /** The newest first: all that may be used, and the newest 100 of the others. */
  list(): Promise<readonly ApiKey[]>;
  /** For an administrator; null for anybody else, and where there is none. */
  find(id: string): Promise<ApiKey | null>;
  /**
   * A key, and its secret: it is not stored, and is never shown again.
   * @throws BAD_USER_INPUT; CONFLICT with `limit` where the tenant has as many keys as it may.
   */
  create(input: NewApiKey): Promise<{ readonly apiKey: ApiKey; readonly secret: string }>;
  /** What a key did, the operation it used last first. */
  usage(id: string, first: number): Promise<readonly OperationUsage[]>;
  /** Holds at once here, and within 30 s everywhere. @throws NOT_FOUND */
  setEnforcement(id: string, enforcement: ApiKeyEnforcement): Promise<ApiKey>;
  /** Holds at once here, and within 30 s everywhere, also on what is open. Again changes nothing. @throws NOT_FOUND */
  revoke(id: string): Promise<ApiKey>;
}

export interface ApiKeyServiceDependencies {
  readonly scope: TenantScope;
  readonly store: ApiKeyStore;
  readonly usage: Pick<OperationUsageStore, 'list'>;
  /** Told of a key that was changed. */
  readonly changed: (key: StoredApiKey) => void;
  readonly clock: Clock;
}

const shown = ({ secretHash: _secretHash, ...key }: StoredApiKey): ApiKey => key;

export function createApiKeyService(deps: ApiKeyServiceDependencies): ApiKeyService {
  const { scope, store, usage, changed, clock } = deps;
  const { tenantId, principal } = scope;
  const liveOf = (keys: readonly StoredApiKey[]) => keys.filter((key) => isLive(key, clock.now()));

  function checkExpiry(expiresAt: Date | null): string | null {
    if (expiresAt && expiresAt.getTime() <= clock.now()) throw badInput('`expiresAt` is over already.', 'expiresAt');
    return expiresAt && isoTime(expiresAt.getTime());
  }

  function checkScopes(scopes: readonly ApiKeyScope[]): readonly ApiKeyScope[] {
    if (scopes.length === 0) throw badInput('A key without any scope could do nothing.', 'scopes');
    return SCOPES.filter((scope) => scopes.includes(scope));
  }

  async function change(id: string, write: () => Promise<StoredApiKey | null>): Promise<ApiKey> {
    const key = isApiKeyId(id) ? await write() : null;
    if (!key) throw new AppError('NOT_FOUND', 'There is no such API key.');
    changed(key);
    return shown(key);
  }

  return {
    async list() {
      const all = await store.list();
      const live = liveOf(all);
      const ended = all.filter((key) => !live.includes(key)).slice(0, ENDED_KEYS_SHOWN_MAX);
      return all.filter((key) => live.includes(key) || ended.includes(key)).map(shown);
    },

    async find(id) {
      if (!principal.roles.includes('TENANT_ADMIN') || !isApiKeyId(id)) return null;
      const key = await store.get(id);
      return key && shown(key);
    },

    async create({ name, scopes, operationIds, enforcement = 'ENFORCE', expiresAt }) {
      const [id, secret] = [newApiKeyId(clock.now()), newSecret()];
      const key: StoredApiKey = {
        ...{ tenantId, id, name: checkName(name), prefix: apiKeyPrefix(tenantId, id), scopes: checkScopes(scopes) },
        operationIds: operationIds ? checkOperationIds(operationIds) : null,
        enforcement,
        expiresAt: checkExpiry(expiresAt ?? null),
        ...{ createdAt: isoTime(clock.now()), lastUsedAt: null, revokedAt: null, secretHash: hashOfSecret(secret) },
      };
      await store.create(key);
      // Counted once it is there: of those who take the last place at the same time each sees the others, and none stays beyond it.
      if (liveOf(await store.list()).length > LIVE_KEYS_MAX) {
        await store.remove(id);
        const limit = { limit: LIVE_KEYS_MAX };
        throw new AppError('CONFLICT', `The tenant has ${LIVE_KEYS_MAX} API keys already: revoke one first.`, limit);
      }
      return { apiKey: shown(key), secret: writeApiKey(tenantId, id, secret) };
    },

    usage: (id, first) => usageOfKey(usage, id, first),
    setEnforcement: (id, enforcement) => change(id, () => store.setEnforcement(id, enforcement)),
    revoke: (id) => change(id, () => store.revoke(id, isoTime(clock.now()))),
  };
}
