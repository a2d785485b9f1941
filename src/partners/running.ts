import type { Clock } from '../kernel/clock.ts';
import { AppError } from '../kernel/errors.ts';
import { createRecentReads } from '../kernel/recent-reads.ts';
import type { Principal } from '../tenancy/principal.ts';
import type { TenantId } from '../tenancy/tenant-id.ts';
import { isOpen, type OperationIndex, type PublishedOperation, type StoredApiKey } from './model.ts';
import { parseOperationId } from './operation-id.ts';
import type { OperationStore } from './ports.ts';

/** How long an instance may go on with what it read of a tenant's operations, in milliseconds. */
export const INDEX_CACHE_MS = 25_000;
const INDEXES_CACHED_MAX = 1_000;
/** Bodies that are remembered; one never changes, and has 16 KB at most. */
const BODIES_CACHED_MAX = 2_000;

/** A published operation, for somebody who asked for it by its id. */
export interface FoundOperation {
  readonly published: PublishedOperation;
  readonly body: string;
  /** Whether it is among those that the caller may run. */
  readonly allowed: boolean;
}

/** How strictly a caller is held to published operations: not at all, as everybody but API keys; only reported; or bound to them. */
export type Strictness = 'FREE' | 'REPORTED' | 'BOUND';

/** Decides which operations are run: by the id under which a tenant has published one, or as the document that a caller sends. */
export interface OperationGate {
  /** The operation that a caller of the tenant asks for by its id; null where none is published, or it has ended. */
  find(principal: Principal, tenantId: TenantId, id: string): Promise<FoundOperation | null>;
  strictness(principal: Principal): Promise<Strictness>;
  /** Told of an index that this instance has just changed: it knows it at once. */
  readonly changed: (tenantId: TenantId, index: OperationIndex) => void;
}

export interface OperationGateDependencies {
  readonly storeOf: (tenantId: TenantId) => Pick<OperationStore, 'index' | 'bodies'>;
  /** A key as this instance knows it. */
  readonly keyOf: (tenantId: TenantId, id: string) => Promise<StoredApiKey | null>;
  readonly clock: Clock;
}

export const operationRequired = (): AppError =>
  new AppError('PERSISTED_OPERATION_REQUIRED', 'An API key runs published operations only: send the id of one.');

export const operationNotFound = (): AppError =>
  new AppError('PERSISTED_OPERATION_NOT_FOUND', 'There is no published operation of this id.');

export function createOperationGate({ storeOf, keyOf, clock }: OperationGateDependencies): OperationGate {
  const indexes = createRecentReads<TenantId, OperationIndex>({
    clock,
    maxAgeMs: INDEX_CACHE_MS,
    keysMax: INDEXES_CACHED_MAX,
  });
  const bodies = createRecentReads<string, string>({ clock, maxAgeMs: Infinity, keysMax: BODIES_CACHED_MAX });

  const keyBehind = ({ credential, tenantId, userId }: Principal) =>
    credential.kind === 'API_KEY' && tenantId ? keyOf(tenantId, userId) : null;

  async function readBody(published: PublishedOperation): Promise<string> {
    const [body] = await storeOf(published.tenantId).bodies([published]);
    if (body == null) throw operationNotFound(); // it was unpublished since the index was read
    return body;
  }

  return {
    async find(principal, tenantId, text) {
      const id = parseOperationId(text);
      if (id === null) return null;
      const { operations } = await indexes.get(tenantId, () => storeOf(tenantId).index());
      const published = operations.get(id);
      if (!published || !isOpen(published, clock.now())) return null;
      const allowed = (await keyBehind(principal))?.operationIds?.includes(id) ?? true;
      return { published, allowed, body: await bodies.get(`${tenantId} ${id}`, () => readBody(published)) };
    },
    async strictness(principal) {
      if (principal.credential.kind !== 'API_KEY') return 'FREE';
      return (await keyBehind(principal))?.enforcement === 'LOG_ONLY' ? 'REPORTED' : 'BOUND';
    },
    changed: (tenantId, index) => indexes.put(tenantId, index),
  };
}
