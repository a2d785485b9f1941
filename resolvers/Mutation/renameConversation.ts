import type { MutationResolvers } from '../types.generated.ts';

export const renameConversation: MutationResolvers['renameConversation'] = async (_root, { input }, { tenant }) => ({
  conversation: await tenant.conversations.rename(input),
});
