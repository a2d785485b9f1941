import type { MutationResolvers } from '../types.generated.ts';

export const sendMessage: MutationResolvers['sendMessage'] = (_root, { input }, { tenant }) => tenant.turns.send(input);
