import type { MutationResolvers } from '../types.generated.ts';

export const publishOperations: MutationResolvers['publishOperations'] = (_root, { operations }, { tenant }) =>
  tenant.operations.publish(operations);
