import type { MutationResolvers } from '../types.generated.ts';

export const signOutEverywhere: MutationResolvers['signOutEverywhere'] = async (
  _root,
  { refreshToken },
  { auth, proved },
) => {
  proved(await auth.signOutEverywhere(refreshToken));
  return true;
};
