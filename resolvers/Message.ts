import type { MessageResolvers } from './types.generated.ts';

export const Message: MessageResolvers = {
  agent: ({ agentId, agentName }, _args, { agents }) => (agentId === null ? null : agents.resolve(agentId, agentName)),
  conversation: async ({ conversationId }, _args, { tenant }) => {
    const conversation = await tenant.conversations.find(conversationId);
    if (!conversation) throw new Error('A message was shown whose conversation is gone.');
    return conversation;
  },
};
