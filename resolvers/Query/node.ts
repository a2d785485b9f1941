import type { QueryResolvers } from '../types.generated.ts';

/** Every type keeps the rule of its own root field; an id names at most one of them. */
export const node: QueryResolvers['node'] = async (_root, { id }, { tenant }) => {
  if (id === tenant.tenant.id) return { __typename: 'Tenant', ...tenant.tenant };
  const conversation = await tenant.conversations.find(id);
  if (conversation) return { __typename: 'Conversation', ...conversation };
  const message = await tenant.conversations.findMessage(id);
  if (message) return { __typename: 'Message', ...message };
  const apiKey = await tenant.apiKeys.find(id);
  return apiKey && { __typename: 'ApiKey', ...apiKey };
};
