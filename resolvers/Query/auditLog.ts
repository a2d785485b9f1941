import type { QueryResolvers } from '../types.generated.ts';

export const auditLog: QueryResolvers['auditLog'] = (_root, { filter, first, after }, { tenant }) =>
  tenant.audit.list(filter, { first, after });
