import type { QueryResolvers } from '../types.generated.ts';

export const parkedWork: QueryResolvers['parkedWork'] = (_root, page, { tenant }) => tenant.parkedWork(page);
