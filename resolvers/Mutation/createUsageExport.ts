import type { MutationResolvers } from '../types.generated.ts';

export const createUsageExport: MutationResolvers['createUsageExport'] = (
  _root,
  { input: { start, end, format } },
  { tenant },
) => tenant.exports.link({ kind: 'usage', start, end, format: format ?? 'CSV' });
