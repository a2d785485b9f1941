import type { ApiKeyScope } from '../tenancy/principal.ts';
import type { TenantId } from '../tenancy/tenant-id.ts';

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
