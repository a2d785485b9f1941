import type { Clock } from '../kernel/clock.ts';
import type { AuditFact } from './model.ts';

/** Failures of one kind that a trail takes up one by one in a minute; more are counted, and recorded together. */
export const DENIALS_MAX = 20;
const WINDOW_MS = 60_000;

/** Why a call may have been refused before it cost its caller anything: what can be sent without end. */
const FREE: readonly unknown[] = [
  ...['UNAUTHENTICATED', 'FORBIDDEN', 'TENANT_REQUIRED', 'TENANT_INVALID', 'TENANT_SUSPENDED', 'RATE_LIMITED'],
  ...['ORIGIN_NOT_ALLOWED', 'PERSISTED_OPERATION_REQUIRED', 'PERSISTED_OPERATION_NOT_FOUND'],
];

/**
 * Bounds what refusals can add to a trail, so that nobody fills it by being refused: of each code 20 a minute are recorded as they
 * are, and what comes beyond them as one entry with their number. Of that many there is one writer's share for each instance.
 */
export function boundDenials(record: (fact: AuditFact) => void, clock: Clock): (fact: AuditFact) => void {
  const windows = new Map<string, { recorded: number; suppressed: number }>();

  return (fact) => {
    const { code } = fact.details;
    if (fact.result === 'SUCCESS' || !FREE.includes(code)) return record(fact);
    const { tenantId } = fact;
    const name = `${tenantId} ${String(code)}`;
    const window = windows.get(name) ?? { recorded: 0, suppressed: 0 };
    if (!windows.has(name)) {
      windows.set(name, window);
      clock.after(WINDOW_MS, () => {
        windows.delete(name);
        if (window.suppressed > 0) record(summary(tenantId, code ?? null, window.suppressed));
      });
    }
    if (window.recorded++ < DENIALS_MAX) record(fact);
    else window.suppressed++;
  };
}

const summary = (tenantId: AuditFact['tenantId'], code: AuditFact['details'][string], count: number): AuditFact => ({
  ...{ tenantId, actorId: null, ipAddress: null, userAgent: null, requestId: null },
  ...{ action: 'access.denied', resource: 'tenant', result: 'FAILURE' },
  details: { code, count },
});
