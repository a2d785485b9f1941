import { shownSession } from '../models.ts';
import type { MutationResolvers } from '../types.generated.ts';

export const refreshSession: MutationResolvers['refreshSession'] = async (
  _root,
  { refreshToken },
  { auth, tenantOf, ipAddress, userAgent },
) => shownSession(await auth.refresh(refreshToken, { ipAddress, userAgent }), tenantOf);
