import type { ConversationResolvers } from './types.generated.ts';

export const Conversation: ConversationResolvers = {
  agent: ({ agentId, agentName }, _args, { agents }) => agents.resolve(agentId, agentName),
  owner: async ({ ownerId, ownerName }, _args, { tenant }) =>
    (await tenant.loaders.userById.load(ownerId)) ?? { id: ownerId, name: ownerName, email: null },
  lastMessage: (conversation, _args, { tenant }) => tenant.conversations.lastMessage(conversation),
  messages: (conversation, page, { tenant }) => tenant.conversations.messages(conversation, page),
};
