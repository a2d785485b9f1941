import type { LiveUsage } from '../../src/usage/model.ts';
import type { SubscriptionResolvers } from '../types.generated.ts';

export const liveUsage = {
  subscribe: (_root, _args, { tenant }) => tenant.liveUsage(),
  resolve: (usage: LiveUsage) => usage,
} satisfies SubscriptionResolvers['liveUsage'];
