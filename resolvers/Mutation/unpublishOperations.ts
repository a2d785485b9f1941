import type { MutationResolvers } from '../types.generated.ts';

export const unpublishOperations: MutationResolvers['unpublishOperations'] = (_root, { ids }, { tenant }) =>
  tenant.operations.unpublish(ids);
