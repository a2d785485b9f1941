import { AppError } from '../kernel/errors.ts';
import { ulid, ULID_PATTERN } from '../kernel/ids.ts';
import type { TenantId } from './tenant-id.ts';

export type Role = 'PLATFORM_OPERATOR' | 'TENANT_ADMIN' | 'MEMBER' | 'PARTNER';

/** What a caller proved themselves with. */
export type Credential = { readonly kind: 'SESSION'; readonly sessionId: string };

/** Who is calling, as proved by a credential. */
export interface Principal {
  readonly userId: string;
  readonly name: string;
  readonly email: string | null;
  readonly roles: readonly Role[];
  /** The tenant the caller belongs to; null for a platform operator. */
  readonly tenantId: TenantId | null;
  readonly credential: Credential;
  /** When the credential ends, in milliseconds since the Unix epoch. */
  readonly expiresAt: number;
}

/** The sign-in that the credential comes from, where it comes from one. */
export const signInOf = ({ credential }: Principal): string | null =>
  'sessionId' in credential ? credential.sessionId : null;

export const isOperator = (principal: Principal): boolean => principal.roles.includes('PLATFORM_OPERATOR');

/** The one answer to every access token that does not, or no longer, prove who is calling: which check failed is nobody's business but ours. */
export const tokenRefused = (options?: ErrorOptions): AppError =>
  new AppError('UNAUTHENTICATED', 'The access token is not valid, or has expired.', {}, options);

const USER_ID = new RegExp(`^user-${ULID_PATTERN}$`);

export const newUserId = (nowMs: number): string => `user-${ulid(nowMs)}`;
export const isUserId = (text: string): boolean => USER_ID.test(text);
