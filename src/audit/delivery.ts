import type { ChainedEntry } from './model.ts';
import type { AuditTrails } from './ports.ts';

/** Chains that are delivered at the same time. */
const CHAINS_AT_ONCE = 16;

/** What could not be stored, and why. */
export interface Undelivered {
  readonly left: readonly ChainedEntry[];
  readonly error: unknown;
}

/**
 * Stores entries, those of a chain one after the other: an entry is stored only when the ones before it are. Chains of different
 * tenants do not wait for each other. What is left can be given to it again.
 */
export async function deliver(entries: readonly ChainedEntry[], trails: AuditTrails): Promise<Undelivered> {
  const chains = [...Map.groupBy(entries, ({ tenantId, writer }) => `${tenantId} ${writer}`).values()];
  const left: ChainedEntry[] = [];
  let error: unknown = null;

  async function deliverChain(chain: readonly ChainedEntry[]) {
    for (const [index, entry] of chain.entries()) {
      try {
        await trails.of(entry.tenantId).append(entry);
      } catch (reason) {
        error = reason;
        left.push(...chain.slice(index));
        return;
      }
    }
  }

  async function deliverChains() {
    for (let chain = chains.shift(); chain; chain = chains.shift()) await deliverChain(chain);
  }
  await Promise.all(Array.from({ length: CHAINS_AT_ONCE }, deliverChains));
  return { left, error };
}
