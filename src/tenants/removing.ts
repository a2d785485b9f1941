import { isoTime, type Clock } from '../kernel/clock.ts';
import { repeat } from '../kernel/repeating.ts';
import type { TenantId } from '../tenancy/tenant-id.ts';
import type { Removal } from './model.ts';
import type { AllRows, RemovalStore, TenantDirectory } from './ports.ts';

const ROUND_EVERY_MS = 10_000;
/** How long a process that died holds a removal up. */
const LEASE_MS = 120_000;
/** By then every instance knows that the tenant is closed, and what it let in before has its turn row. */
export const CLOSED_AFTER_MS = 60_000;
/** Turns that have not ended by then never will: nothing renews them any more. */
export const TURNS_END_WITHIN_MS = 3_600_000;
/** What is still written by then was written by a process that stood still for an hour. */
export const VERIFIED_AFTER_MS = 3_600_000;

export interface RemovalLog {
  removed(removal: Removal): void;
  /** A round failed (null), or the work on one tenant; the next one goes on. */
  removalFailed(tenantId: TenantId | null, error: unknown): void;
}

export interface RemovalDependencies {
  readonly store: RemovalStore;
  readonly directory: Pick<TenantDirectory, 'get' | 'leave' | 'forget'>;
  readonly rows: AllRows;
  /** Whether a turn of the tenant has not ended yet. */
  readonly hasOpenTurns: (tenantId: TenantId) => Promise<boolean>;
  /** Removes what is kept of a tenant beside what is stored: by the instances together, and by the agents. Its users are still there. */
  readonly forgetElsewhere: (tenantId: TenantId) => Promise<void>;
  /** Puts it on record that nothing is left of a tenant. */
  readonly record: (removal: Removal) => Promise<void>;
  readonly clock: Clock;
  readonly log: RemovalLog;
}

/**
 * Removes all there is of tenants that are `DELETING`: pass after pass over everything that is stored, until one finds nothing; and an
 * hour later another one, which is the proof. How far it is stands in the store after every page, so that any process goes on
 * where one stopped.
 */
export function createTenantRemoval(deps: RemovalDependencies) {
  const { store, directory, rows, clock, log } = deps;

  /** False when another process has taken the removal over, or it is to stop. */
  async function goOn(removal: Removal, stopping?: AbortSignal): Promise<boolean> {
    return (await store.save(removal, clock.now() + LEASE_MS)) && stopping?.aborted !== true;
  }

  /** Whether nothing of the tenant can begin any more, and what had begun has ended. */
  async function hasEnded(tenantId: TenantId, closedAt: number): Promise<boolean> {
    const forMs = clock.now() - closedAt;
    return forMs >= CLOSED_AFTER_MS && (forMs >= TURNS_END_WITHIN_MS || !(await deps.hasOpenTurns(tenantId)));
  }

  async function wait(removal: Removal): Promise<Removal | null> {
    const { tenantId, requestedAt } = removal;
    const tenant = await directory.get(tenantId);
    if (tenant?.status !== 'DELETING') {
      // Entered by a process that died before it closed the tenant.
      if (clock.now() - Date.parse(requestedAt) >= CLOSED_AFTER_MS) await store.cancel(tenantId);
      return null;
    }
    if (!(await hasEnded(tenantId, Date.parse(tenant.updatedAt)))) return null;
    await directory.leave(tenantId, isoTime(clock.now()));
    return { ...removal, phase: 'REMOVING' };
  }

  /** One pass over everything, from where it stopped. */
  async function pass(begun: Removal, stopping?: AbortSignal): Promise<Removal | null> {
    if (begun.place === null) await deps.forgetElsewhere(begun.tenantId);
    let removal = begun.place === null ? { ...begun, rowsRead: 0, rowsFound: 0 } : begun;
    do {
      const { rowsRead, rowsRemoved, next } = await rows.removeSome(removal.tenantId, removal.place);
      removal = {
        ...removal,
        rowsRead: removal.rowsRead + rowsRead,
        rowsFound: removal.rowsFound + rowsRemoved,
        rowsRemoved: removal.rowsRemoved + rowsRemoved,
        place: next,
      };
      if (next !== null && !(await goOn(removal, stopping))) return null;
    } while (removal.place !== null);
    return removal;
  }

  /** What follows; null where nothing is to be done now. */
  async function step(removal: Removal, stopping?: AbortSignal): Promise<Removal | null> {
    if (removal.phase === 'WAITING') return wait(removal);
    if (removal.phase === 'DONE' || clock.now() < (removal.verifyFrom ?? 0)) return null;
    const passed = await pass(removal, stopping);
    if (passed === null) return null;
    if (passed.rowsFound > 0) return { ...passed, phase: 'REMOVING', verifyFrom: null };
    if (passed.phase === 'REMOVING')
      return { ...passed, phase: 'VERIFYING', verifyFrom: clock.now() + VERIFIED_AFTER_MS };
    const done: Removal = { ...passed, phase: 'DONE', doneAt: isoTime(clock.now()) };
    await deps.record(done);
    await directory.forget(done.tenantId);
    log.removed(done);
    return done;
  }

  async function work(claimed: Removal, stopping?: AbortSignal) {
    let removal: Removal | null = claimed;
    while (removal !== null) {
      removal = await step(removal, stopping);
      if (removal === null || !(await goOn(removal, stopping))) return;
    }
  }

  async function take(tenantId: TenantId, stopping?: AbortSignal) {
    const removal = await store.claim(tenantId, clock.now(), clock.now() + LEASE_MS);
    if (removal === null) return;
    await work(removal, stopping).finally(() => store.release(tenantId));
  }

  /** Does all that can be done now. On several instances at once each removal is worked on by one. */
  async function round(stopping?: AbortSignal): Promise<void> {
    for (const { tenantId } of await store.open()) {
      if (stopping?.aborted) return;
      await take(tenantId, stopping).catch((error: unknown) => log.removalFailed(tenantId, error));
    }
  }

  return {
    round,
    start: () =>
      repeat({ clock, everyMs: ROUND_EVERY_MS, task: round, failed: (error) => log.removalFailed(null, error) }),
  };
}
