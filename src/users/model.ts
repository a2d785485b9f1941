import type { Role } from '../tenancy/principal.ts';
import type { TenantId } from '../tenancy/tenant-id.ts';
import { ULID_PATTERN, ulid } from '../kernel/ids.ts';

/** A person or program of a tenant (or of the platform), without anything secret. */
export interface User {
  readonly tenantId: TenantId;
  readonly id: string;
  readonly name: string;
  readonly email: string | null;
  readonly roles: readonly Role[];
}

const USER_ID = new RegExp(`^user-${ULID_PATTERN}$`);

export const newUserId = (nowMs: number): string => `user-${ulid(nowMs)}`;
export const isUserId = (text: string): boolean => USER_ID.test(text);
