import type { RequestContext } from '../../context.ts';
import type { ApiKeyAuthentication } from '../../partners/authentication.ts';
import type { OperationUsageRecorder } from '../../partners/usage.ts';
import type { OperationEnd } from '../log.ts';

export interface PartnerUsageDependencies {
  readonly apiKeys: Pick<ApiKeyAuthentication, 'noteUse'>;
  readonly operationUsage: Pick<OperationUsageRecorder, 'record'>;
}

/** Counts an operation that has ended, if it was an API key's; one that was refused before it had a document is a use of the key, and no more. */
export function recordUse(
  { apiKeys, operationUsage }: PartnerUsageDependencies,
  { identity: { principal } }: RequestContext,
  { type, runAs, durationMs, errorCodes }: OperationEnd,
): void {
  if (principal?.credential.kind !== 'API_KEY' || principal.tenantId === null) return;
  const { tenantId, userId: keyId } = principal;
  apiKeys.noteUse({ tenantId, id: keyId });
  const operation = runAs?.published ?? runAs?.tolerated;
  if (!operation) return;
  operationUsage.record({
    ...{ tenantId, keyId, operation, tolerated: runAs?.tolerated != null },
    ...{ failed: errorCodes.length > 0, latencyMs: type === 'subscription' ? null : durationMs },
  });
}
