import type { MutationResolvers } from '../types.generated.ts';

export const deleteConversation: MutationResolvers['deleteConversation'] = async (_root, { input }, { tenant }) => {
  await tenant.turns.delete(input.conversationId);
  return { deletedConversationId: input.conversationId };
};
