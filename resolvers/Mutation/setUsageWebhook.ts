import type { MutationResolvers } from '../types.generated.ts';

export const setUsageWebhook: MutationResolvers['setUsageWebhook'] = (_root, { url }, { tenant }) =>
  tenant.alerts.setWebhook(url ?? null);
