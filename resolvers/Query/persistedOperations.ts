import type { QueryResolvers } from '../types.generated.ts';

export const persistedOperations: QueryResolvers['persistedOperations'] = (_root, _args, { tenant }) =>
  tenant.operations.list();
