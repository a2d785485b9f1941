import type { MutationResolvers } from '../types.generated.ts';

export const inviteUser: MutationResolvers['inviteUser'] = (_root, { input }, { tenant }) => tenant.users.invite(input);
