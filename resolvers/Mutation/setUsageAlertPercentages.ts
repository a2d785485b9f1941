import type { MutationResolvers } from '../types.generated.ts';

export const setUsageAlertPercentages: MutationResolvers['setUsageAlertPercentages'] = (
  _root,
  { percentages },
  { tenant },
) => tenant.alerts.setPercentages(percentages ?? null);
