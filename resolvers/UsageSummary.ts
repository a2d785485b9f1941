import type { UsageSummaryResolvers } from './types.generated.ts';

export const UsageSummary: UsageSummaryResolvers = {
  byUser: (summary, { first }, { tenant }) => tenant.usage.topUsers(summary, first),
};
