import type { MutationResolvers } from '../types.generated.ts';

export const setApiKeyEnforcement: MutationResolvers['setApiKeyEnforcement'] = async (
  _root,
  { id, enforcement },
  { tenant },
) => ({ apiKey: await tenant.apiKeys.setEnforcement(id, enforcement), secret: null });
