import type { QueryResolvers } from '../types.generated.ts';

export const viewer: QueryResolvers['viewer'] = (_root, _args, { principal, ownTenant }) => ({
  ...principal,
  tenant: ownTenant,
});
