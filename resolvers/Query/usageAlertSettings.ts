import type { QueryResolvers } from '../types.generated.ts';

export const usageAlertSettings: QueryResolvers['usageAlertSettings'] = (_root, _args, { tenant }) =>
  tenant.alerts.settings();
