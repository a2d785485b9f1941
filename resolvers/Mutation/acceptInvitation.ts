import { shownSession } from '../models.ts';
import type { MutationResolvers } from '../types.generated.ts';

export const acceptInvitation: MutationResolvers['acceptInvitation'] = async (
  _root,
  { input },
  { passwords, tenantOf, ipAddress, userAgent },
) => shownSession(await passwords.accept(input, { ipAddress, userAgent }), tenantOf);
