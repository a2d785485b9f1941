import type { QueryResolvers } from '../types.generated.ts';

export const conversations: QueryResolvers['conversations'] = (_root, { filter, ...page }, { tenant }) =>
  tenant.conversations.list(filter, page);
