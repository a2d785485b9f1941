import type { QueryResolvers } from '../types.generated.ts';

export const tenants: QueryResolvers['tenants'] = (_root, page, { platform }) => platform().tenants(page);
