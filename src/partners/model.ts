import type { ApiKeyScope } from '../tenancy/principal.ts';
import type { TenantId } from '../tenancy/tenant-id.ts';

/** Whether a key is held to published operations, or what would be refused is only reported. */
export type ApiKeyEnforcement = 'ENFORCE' | 'LOG_ONLY';

/** The key of a partner's program, without anything secret. Times are RFC 3339. */
export interface ApiKey {
  readonly tenantId: TenantId;
  readonly id: string;
  readonly name: string;
  /** The part of the key that is no secret. */
  readonly prefix: string;
  readonly scopes: readonly ApiKeyScope[];
  /** The published operations it may run; null: every one. */
  readonly operationIds: readonly string[] | null;
  readonly enforcement: ApiKeyEnforcement;
  readonly expiresAt: string | null;
  readonly lastUsedAt: string | null;
  readonly revokedAt: string | null;
  readonly createdAt: string;
}

/** A key as it is kept: with the hash by which its secret is known. */
export interface StoredApiKey extends ApiKey {
  readonly secretHash: string;
}

/** Whether a key may still be used. */
export const isLive = ({ revokedAt, expiresAt }: ApiKey, nowMs: number): boolean =>
  revokedAt === null && (expiresAt === null || Date.parse(expiresAt) > nowMs);

/** An operation that a tenant has published, as its index has it: without its body. */
export interface PublishedOperation {
  readonly tenantId: TenantId;
  /** The SHA-256 of its body, in lower-case hex. */
  readonly id: string;
  readonly name: string;
  readonly publishedAt: string;
  /** Which call published it; its body is kept under that name. */
  readonly publication: string;
  /** Since when it is announced that it ends, and when that is. Both or neither. */
  readonly deprecatedAt: string | null;
  readonly sunsetAt: string | null;
}

/** All that a tenant has published, in one row: it changes as a whole or not at all. */
export interface OperationIndex {
  /** Grows with every change; 0: nothing was ever published. */
  readonly version: number;
  readonly operations: ReadonlyMap<string, PublishedOperation>;
}

/** Whether an operation may still be run. */
export const isOpen = ({ sunsetAt }: PublishedOperation, nowMs: number): boolean =>
  sunsetAt === null || Date.parse(sunsetAt) > nowMs;

/** An operation with what takes a look at its body, if anybody asks. */
export interface PersistedOperation extends PublishedOperation {
  readonly body: () => Promise<string>;
  readonly valid: () => Promise<boolean>;
  readonly problems: () => Promise<readonly string[]>;
}
