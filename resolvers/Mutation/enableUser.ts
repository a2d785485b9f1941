import type { MutationResolvers } from '../types.generated.ts';

export const enableUser: MutationResolvers['enableUser'] = async (_root, { userId }, { tenant }) => ({
  user: await tenant.users.enable(userId),
});
