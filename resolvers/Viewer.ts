import type { ViewerResolvers } from './types.generated.ts';

export const Viewer: ViewerResolvers = {
  id: ({ userId }) => userId,
};
