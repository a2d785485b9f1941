import type { ViewerResolvers } from './types.generated.ts';

export const Viewer: ViewerResolvers = {
  id: ({ userId }) => userId,
  usage: ({ userId }, { start, end }, { tenant }) => tenant.usage.ofUser(userId, start, end),
};
