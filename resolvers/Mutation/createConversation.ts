import type { MutationResolvers } from '../types.generated.ts';

export const createConversation: MutationResolvers['createConversation'] = async (_root, { input }, { tenant }) => ({
  conversation: await tenant.conversations.create(input),
});
