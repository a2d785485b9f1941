import type { ApiKeyResolvers } from './types.generated.ts';

export const ApiKey: ApiKeyResolvers = {
  usage: ({ id }, { first }, { tenant }) => tenant.apiKeys.usage(id, first),
};
