import type { QueryResolvers } from '../types.generated.ts';

export const users: QueryResolvers['users'] = (_root, page, { tenant }) => tenant.users.list(page);
