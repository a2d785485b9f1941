import type { MutationResolvers } from '../types.generated.ts';

export const signOut: MutationResolvers['signOut'] = async (_root, { refreshToken }, { auth }) => {
  await auth.signOut(refreshToken);
  return true;
};
