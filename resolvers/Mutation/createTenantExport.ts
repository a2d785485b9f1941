import type { MutationResolvers } from '../types.generated.ts';

export const createTenantExport: MutationResolvers['createTenantExport'] = (_root, _args, { tenant }) =>
  tenant.exports.link({ kind: 'tenant' });
