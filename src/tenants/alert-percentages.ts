import type { TenantId } from '../tenancy/tenant-id.ts';
import { changeTenant, type TenantRows } from './change.ts';
import type { Tenant } from './model.ts';

export interface AlertPercentagesDependencies extends TenantRows {
  readonly tenantId: TenantId;
  readonly changed: (tenant: Tenant) => void;
}

/** The percentages of its limits at which one tenant is alerted: part of its configuration, so that they come with the limits. */
export const createAlertPercentages = ({ tenantId, changed, ...rows }: AlertPercentagesDependencies) => ({
  get: async () => (await rows.directory.get(tenantId))?.alertPercentages ?? null,
  async set(alertPercentages: readonly number[] | null) {
    const tenant = await changeTenant(rows, tenantId, (current) => ({ ...current, alertPercentages }));
    if (tenant) changed(tenant);
  },
});
