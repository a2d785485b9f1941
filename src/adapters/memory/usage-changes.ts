import type { TenantId } from '../../tenancy/tenant-id.ts';
import type { UsageChanges } from '../../usage/ports.ts';

/** Changes of usage within this process. */
export function createMemoryUsageChanges(): UsageChanges {
  const listeners = new Map<TenantId, Set<() => void>>();
  return {
    changed: (tenantId) => listeners.get(tenantId)?.forEach((listener) => listener()),
    onChange(tenantId, listener) {
      const own = listeners.get(tenantId) ?? new Set();
      listeners.set(tenantId, own.add(listener));
      return () => {
        own.delete(listener);
        if (own.size === 0) listeners.delete(tenantId);
      };
    },
  };
}
