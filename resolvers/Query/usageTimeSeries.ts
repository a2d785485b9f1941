import type { QueryResolvers } from '../types.generated.ts';

export const usageTimeSeries: QueryResolvers['usageTimeSeries'] = (_root, request, { tenant }) =>
  tenant.usage.series(request);
