import { AppError } from '../src/kernel/errors.ts';
import type { MessageResolvers } from './types.generated.ts';

export const Message: MessageResolvers = {
  agent: ({ agentId, agentName }, _args, { agents }) => (agentId === null ? null : agents.resolve(agentId, agentName)),
  conversation: async ({ conversationId }, _args, { tenant }) => {
    const conversation = await tenant.conversations.find(conversationId);
    if (!conversation) throw new AppError('NOT_FOUND', 'The conversation was deleted.');
    return conversation;
  },
};
