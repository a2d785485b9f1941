import type { QueryResolvers } from '../types.generated.ts';

export const tenant: QueryResolvers['tenant'] = (_root, _args, { tenant }) => tenant.tenant;
