import type { QueryResolvers } from '../types.generated.ts';

export const tenantRemoval: QueryResolvers['tenantRemoval'] = (_root, { tenantId }, { platform }) =>
  platform().removal(tenantId);
