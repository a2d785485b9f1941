import type { MutationResolvers } from '../types.generated.ts';

export const revokeApiKey: MutationResolvers['revokeApiKey'] = async (_root, { id }, { tenant }) => ({
  apiKey: await tenant.apiKeys.revoke(id),
  secret: null,
});
