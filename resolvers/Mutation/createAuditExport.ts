import type { MutationResolvers } from '../types.generated.ts';

export const createAuditExport: MutationResolvers['createAuditExport'] = (
  _root,
  { input: { start, end } },
  { tenant },
) => tenant.exports.link({ kind: 'audit', start, end });
