import type { MutationResolvers } from '../types.generated.ts';

export const createTenant: MutationResolvers['createTenant'] = (_root, { input }, { platform }) =>
  platform().createTenant(input);
