import { shownSession } from '../models.ts';
import type { MutationResolvers } from '../types.generated.ts';

export const changePassword: MutationResolvers['changePassword'] = async (_root, { input }, { tenant, ownTenant }) =>
  shownSession(await tenant.changePassword(input), ownTenant);
