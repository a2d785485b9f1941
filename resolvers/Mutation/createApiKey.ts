import type { MutationResolvers } from '../types.generated.ts';

export const createApiKey: MutationResolvers['createApiKey'] = (_root, { input }, { tenant }) =>
  tenant.apiKeys.create(input);
