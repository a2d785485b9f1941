import type { MutationResolvers } from '../types.generated.ts';

export const setUserRoles: MutationResolvers['setUserRoles'] = async (_root, { input }, { tenant }) => ({
  user: await tenant.users.setRoles(input),
});
