import type { UserUsageResolvers } from './types.generated.ts';

export const UserUsage: UserUsageResolvers = {
  user: async ({ userId }, _args, { tenant }) =>
    (await tenant.loaders.userById.load(userId)) ?? { id: userId, name: userId, email: null },
};
