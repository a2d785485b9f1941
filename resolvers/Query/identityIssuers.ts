import type { QueryResolvers } from '../types.generated.ts';

export const identityIssuers: QueryResolvers['identityIssuers'] = (_root, _args, { tenant }) => tenant.issuers.get();
