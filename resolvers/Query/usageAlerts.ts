import type { QueryResolvers } from '../types.generated.ts';

export const usageAlerts: QueryResolvers['usageAlerts'] = (_root, page, { tenant }) => tenant.alerts.list(page);
