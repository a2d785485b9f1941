import type { MutationResolvers } from '../types.generated.ts';

export const setTenantStatus: MutationResolvers['setTenantStatus'] = async (
  _root,
  { tenantId, status },
  { platform },
) => ({
  tenant: await platform().setStatus(tenantId, status),
});
