import type { TenantId } from './tenant-id.ts';

export type Role = 'PLATFORM_OPERATOR' | 'TENANT_ADMIN' | 'MEMBER' | 'PARTNER';

/** Who is calling, as proved by a credential. */
export interface Principal {
  readonly userId: string;
  readonly name: string;
  readonly email: string | null;
  readonly roles: readonly Role[];
  /** The tenant the caller belongs to; null for a platform operator. */
  readonly tenantId: TenantId | null;
  /** When the credential ends, in milliseconds since the Unix epoch. */
  readonly expiresAt: number;
}

export const isOperator = (principal: Principal): boolean => principal.roles.includes('PLATFORM_OPERATOR');
