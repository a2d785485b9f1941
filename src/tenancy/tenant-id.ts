declare const brand: unique symbol;

/** A tenant's slug that has been checked. Only this file makes one, so no key can be built from an unchecked string. */
export type TenantId = string & { readonly [brand]: 'TenantId' };

/** 3 to 40 characters: lower-case letters, digits and inner hyphens, a letter first. It fits DNS labels, DynamoDB keys and Bedrock session ids. */
const SLUG = /^[a-z][a-z0-9-]{1,38}[a-z0-9]$/;

/** The home of platform operators: never a tenant, though its operators and their sessions are kept like a tenant's. */
export const PLATFORM = 'platform' as TenantId;

/** The tenant id this text spells, or null when no tenant can have it. */
export const parseTenantId = (text: string): TenantId | null =>
  SLUG.test(text) && text !== PLATFORM ? (text as TenantId) : null;
