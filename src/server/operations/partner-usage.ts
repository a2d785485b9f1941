import type { RequestContext } from '../../context.ts';
import type { OperationUsageRecorder } from '../../partners/usage.ts';
import type { OperationEnd } from '../log.ts';

/** Counts an operation that has ended, if it was an API key's; one that was refused before it had a document never began. */
export function recordUse(
  usage: Pick<OperationUsageRecorder, 'record'>,
  { identity: { principal } }: RequestContext,
  { type, runAs, durationMs, errorCodes }: OperationEnd,
): void {
  const operation = runAs?.published ?? runAs?.tolerated;
  if (!operation || principal?.credential.kind !== 'API_KEY' || principal.tenantId === null) return;
  usage.record({
    ...{ tenantId: principal.tenantId, keyId: principal.userId, operation, tolerated: runAs?.tolerated != null },
    ...{ failed: errorCodes.length > 0, latencyMs: type === 'subscription' ? null : durationMs },
  });
}
