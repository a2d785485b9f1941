import type { QueryResolvers } from '../types.generated.ts';

export const apiKeys: QueryResolvers['apiKeys'] = (_root, _args, { tenant }) => tenant.apiKeys.list();
