import type { AgentUsageResolvers } from './types.generated.ts';

export const AgentUsage: AgentUsageResolvers = {
  agent: ({ agentId }, _args, { agents }) => agents.resolve(agentId),
};
