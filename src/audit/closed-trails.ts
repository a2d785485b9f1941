import { isoTime, type Clock } from '../kernel/clock.ts';
import { ulid } from '../kernel/ids.ts';
import { PLATFORM, type TenantId } from '../tenancy/tenant-id.ts';
import { chained, type Sign } from './chain.ts';
import type { AuditFact } from './model.ts';
import type { AuditTrails } from './ports.ts';

/** What is done in a tenant that is being removed is recorded in the platform's trail: the tenant's own goes with the tenant. */
export const divertFrom =
  (isLeaving: (tenantId: TenantId) => boolean, record: (fact: AuditFact) => void) =>
  (fact: AuditFact): void =>
    record(
      isLeaving(fact.tenantId)
        ? { ...fact, tenantId: PLATFORM, details: { ...fact.details, tenant: fact.tenantId } }
        : fact,
    );

/** Trails that take nothing for a tenant that is being removed or is gone, however long an entry has waited: its trail would come back. */
export const closedFor = (isGone: (tenantId: TenantId) => Promise<boolean>, trails: AuditTrails): AuditTrails => ({
  ...trails,
  of(tenantId) {
    const trail = trails.of(tenantId);
    return {
      ...trail,
      async append(entry) {
        if (!(await isGone(tenantId))) await trail.append(entry);
      },
    };
  },
});

/** Records an act of the installation itself in the platform's trail, in a chain of its own. It is stored when it resolves. */
export const recordAlone =
  (trails: Pick<AuditTrails, 'of'>, sign: Sign, clock: Clock) =>
  async ({ action, resource, details }: Pick<AuditFact, 'action' | 'resource' | 'details'>): Promise<void> => {
    const [id, at] = [ulid(clock.now()), isoTime(clock.now())];
    const unknown = { actorId: null, ipAddress: null, userAgent: null, requestId: null };
    const entry = { ...unknown, tenantId: PLATFORM, id, at, action, resource, details, result: 'SUCCESS' as const };
    await trails.of(PLATFORM).append(chained(sign, ulid(clock.now()), null, entry));
  };
