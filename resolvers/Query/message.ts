import type { QueryResolvers } from '../types.generated.ts';

export const message: QueryResolvers['message'] = (_root, { id }, { tenant }) => tenant.conversations.findMessage(id);
