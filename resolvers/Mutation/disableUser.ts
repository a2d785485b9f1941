import type { MutationResolvers } from '../types.generated.ts';

export const disableUser: MutationResolvers['disableUser'] = async (_root, { userId }, { tenant }) => ({
  user: await tenant.users.disable(userId),
});
