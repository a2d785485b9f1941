import { AppError } from '../kernel/errors.ts';
import type { Principal } from '../tenancy/principal.ts';
import type { Tenant } from '../tenants/model.ts';

/** @throws ORIGIN_NOT_ALLOWED where a credential may not be used by pages of this origin. */
export type OriginCheck = (principal: Principal, origin: string | null) => Promise<void>;

/**
 * The origin of the page that sends a request, as its browser says (the Fetch standard); null where no page sends it, or one of this server's
 * own. `null` as text is that of a page that has none.
 */
export const foreignOrigin = (origin: string | undefined, host: string | undefined): string | null =>
  origin === undefined || (URL.canParse(origin) && new URL(origin).host === host) ? null : origin;

export interface OriginCheckOptions {
  /** Origins of pages that may use the credentials of every tenant, and of operators. */
  readonly corsOrigins: readonly string[];
  readonly tenantOf: (principal: Principal) => Promise<Pick<Tenant, 'allowedOrigins'> | null>;
}

/**
 * Decides by whose pages a credential may be used. A browser asks before it knows any tenant (the preflight), and is told the same whatever
 * the origin: so nobody learns from it which origins are a tenant's.
 */
export const createOriginCheck =
  ({ corsOrigins, tenantOf }: OriginCheckOptions): OriginCheck =>
  async (principal, origin) => {
    if (origin === null || corsOrigins.includes(origin)) return;
    const tenant = await tenantOf(principal);
    if (tenant?.allowedOrigins.includes(origin)) return;
    throw new AppError('ORIGIN_NOT_ALLOWED', 'Pages of this origin may not use this credential.');
  };
