import type { MutationResolvers } from '../types.generated.ts';

export const cancelMessage: MutationResolvers['cancelMessage'] = async (_root, { input }, { tenant }) => ({
  message: await tenant.turns.cancel(input.messageId),
});
