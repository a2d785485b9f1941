import type { MutationResolvers } from '../types.generated.ts';

export const setIdentityIssuers: MutationResolvers['setIdentityIssuers'] = (_root, { input }, { tenant }) =>
  tenant.issuers.set(input);
