import type { QueryResolvers } from '../types.generated.ts';

export const usageSummary: QueryResolvers['usageSummary'] = (_root, { start, end }, { tenant }) =>
  tenant.usage.summary(start, end);
