import { isoTime, type Clock } from '../kernel/clock.ts';
import { AppError } from '../kernel/errors.ts';
import type { TenantId } from '../tenancy/tenant-id.ts';
import type { Tenant } from './model.ts';
import type { TenantDirectory } from './ports.ts';

/** So many others would have to change the same tenant in the milliseconds between a read and its write, one after the other. */
const TRIES = 20;

export interface TenantRows {
  readonly directory: Pick<TenantDirectory, 'get' | 'replace'>;
  readonly clock: Clock;
}

/**
 * Changes a tenant, whoever changes it at the same time: `change` is applied to the stored one, and again to the next one
 * if somebody was faster. It may be called several times, and throws to refuse. What it leaves as it is is not written.
 *
 * @returns the tenant as it is then, or null when there is none.
 */
export async function changeTenant(
  { directory, clock }: TenantRows,
  id: TenantId,
  change: (current: Tenant) => Tenant,
): Promise<Tenant | null> {
  for (let tries = 0; tries < TRIES; tries++) {
    const current = await directory.get(id);
    if (!current) return null;
    const wanted = change(current);
    if (JSON.stringify(wanted) === JSON.stringify(current)) return current;
    const next = { ...wanted, version: current.version + 1, updatedAt: isoTime(clock.now()) };
    if (await directory.replace(next)) return next;
  }
  throw new AppError('CONFLICT', 'The tenant is being changed by many at once: try again.');
}
