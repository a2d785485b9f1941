import type { MutationResolvers } from '../types.generated.ts';

export const signOut: MutationResolvers['signOut'] = async (_root, { refreshToken }, { auth, proved }) => {
  proved(await auth.signOut(refreshToken));
  return true;
};
