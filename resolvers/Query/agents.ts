import type { QueryResolvers } from '../types.generated.ts';

export const agents: QueryResolvers['agents'] = (_root, _args, { agents, tenant }) =>
  agents.among(tenant.tenant.agentIds);
