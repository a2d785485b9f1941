import type { Role } from '../tenancy/principal.ts';
import type { TenantId } from '../tenancy/tenant-id.ts';

/** A person or program of a tenant (or of the platform), without anything secret. */
export interface User {
  readonly tenantId: TenantId;
  readonly id: string;
  readonly name: string;
  readonly email: string | null;
  readonly roles: readonly Role[];
}

export type UserStatus = 'INVITED' | 'ACTIVE' | 'DISABLED';

/** A user as administrators see them. */
export interface UserAccount extends User {
  readonly status: UserStatus;
  /** The issuer whose tokens they come with, and which says what they may do; null for somebody who signs in with a password. */
  readonly issuer: string | null;
  readonly createdAt: string;
}

/** What decides what a user may do. */
export type Standing = Pick<UserAccount, 'roles' | 'status'>;

export const isActiveAdmin = ({ roles, status }: Standing): boolean =>
  status === 'ACTIVE' && roles.includes('TENANT_ADMIN');
