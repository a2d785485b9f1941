import type { MutationResolvers } from '../types.generated.ts';

export const updateTenant: MutationResolvers['updateTenant'] = async (_root, { input }, { tenant }) => ({
  tenant: await tenant.configuration.update(input),
});
