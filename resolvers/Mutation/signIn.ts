import { shownSession } from '../models.ts';
import type { MutationResolvers } from '../types.generated.ts';

export const signIn: MutationResolvers['signIn'] = async (_root, { input }, { auth, tenantOf, ipAddress, userAgent }) =>
  shownSession(await auth.signIn(input, { ipAddress, userAgent }), tenantOf);
