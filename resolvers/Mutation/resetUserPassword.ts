import type { MutationResolvers } from '../types.generated.ts';

export const resetUserPassword: MutationResolvers['resetUserPassword'] = (_root, { userId }, { tenant }) =>
  tenant.users.resetPassword(userId);
