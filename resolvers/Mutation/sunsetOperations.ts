import type { MutationResolvers } from '../types.generated.ts';

export const sunsetOperations: MutationResolvers['sunsetOperations'] = async (_root, { ids, at }, { tenant }) => ({
  operations: await tenant.operations.sunset(ids, at ?? null),
});
