import type { TenantResolvers } from './types.generated.ts';

export const Tenant: TenantResolvers = {
  slug: ({ id }) => id,
  agents: ({ agentIds }, _args, { agents }) => agents.among(agentIds),
};
