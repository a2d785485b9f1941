import type { QueryResolvers } from '../types.generated.ts';

export const conversation: QueryResolvers['conversation'] = (_root, { id }, { tenant }) =>
  tenant.conversations.find(id);
