import { shownSession } from '../models.ts';
import type { MutationResolvers } from '../types.generated.ts';

export const refreshSession: MutationResolvers['refreshSession'] = async (
  _root,
  { refreshToken },
  { auth, tenantOf },
) => shownSession(await auth.refresh(refreshToken), tenantOf);
