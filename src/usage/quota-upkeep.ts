import { sleep, type Clock } from '../kernel/clock.ts';
import { ulidTime } from '../kernel/ids.ts';
import { repeat } from '../kernel/repeating.ts';
import type { TenantId } from '../tenancy/tenant-id.ts';
import { HOUR_MS, MINUTE_MS } from './periods.ts';
import { periodOf } from './quota.ts';
import type { QuotaState, QuotaStore } from './ports.ts';

/** Younger holds may belong to a turn that is just beginning. */
const HOLD_AGE_MS = 15 * MINUTE_MS;
/** Between the two looks that find a hold without a turn: an index may lag behind its table. */
const LOOK_AGAIN_MS = MINUTE_MS;
const ULID_LENGTH = 26;

export interface QuotaUpkeepLog {
  released(tenantId: TenantId, turnId: string, tokens: number): void;
  /** Of one tenant, or the whole round (null): it comes again within the hour. */
  upkeepFailed(tenantId: TenantId | null, error: unknown): void;
}

export interface QuotaUpkeepDependencies {
  readonly tenants: () => AsyncIterable<TenantId>;
  readonly storeOf: (tenantId: TenantId) => QuotaStore;
  /** Ids of the turns that have not ended, of every tenant. */
  readonly openTurns: () => Promise<ReadonlySet<string>>;
  readonly clock: Clock;
  readonly log: QuotaUpkeepLog;
}

interface StrayHold {
  readonly tenantId: TenantId;
  readonly turnId: string;
  readonly tokens: number;
}

interface QuotaOfMonth extends QuotaState {
  readonly tenantId: TenantId;
  readonly store: QuotaStore;
  readonly month: string;
}

/**
 * Tidies the quotas once an hour: gives back what is held for turns that have ended, by a process that came back from the dead, and
 * drops fences that nobody can run into any more. A turn's use is settled by its end and by nothing else: a hold that is released
 * here is not counted as used.
 */
export function createQuotaUpkeep({ tenants, storeOf, openTurns, clock, log }: QuotaUpkeepDependencies) {
  const isOld = (id: string, ageMs: number) => clock.now() - ulidTime(id.slice(0, ULID_LENGTH)) > ageMs;

  /** This month and the one before: a turn may end in the month after its own. */
  function months(): string[] {
    const now = new Date(clock.now());
    const before = Date.UTC(now.getUTCFullYear(), now.getUTCMonth() - 1, 1);
    return [clock.now(), before].map((ms) => new Date(ms).toISOString().slice(0, 7));
  }

  /** One tenant whose quota cannot be tidied must not hold up the others. */
  const ofTenant = (tenantId: TenantId, work: () => Promise<void>): Promise<void> =>
    work().catch((error: unknown) => log.upkeepFailed(tenantId, error));

  async function eachQuota(work: (quota: QuotaOfMonth) => void | Promise<void>) {
    for await (const tenantId of tenants()) {
      await ofTenant(tenantId, async () => {
        const store = storeOf(tenantId);
        for (const month of months()) await work({ tenantId, store, month, ...(await store.state(month)) });
      });
    }
  }

  async function strayHolds(): Promise<StrayHold[]> {
    const open = await openTurns();
    const found: StrayHold[] = [];
    await eachQuota(({ tenantId, holds }) => {
      for (const [turnId, tokens] of Object.entries(holds)) {
        if (isOld(turnId, HOLD_AGE_MS) && !open.has(turnId)) found.push({ tenantId, turnId, tokens });
      }
    });
    return found;
  }

  async function release({ tenantId, turnId, tokens }: StrayHold) {
    const change = { held: tokens, used: 0, fence: true };
    if (await storeOf(tenantId).settle(turnId, periodOf(turnId), change)) log.released(tenantId, turnId, tokens);
  }

  const dropOldFences = () =>
    eachQuota(({ store, month, fenced }) =>
      store.dropFences(
        month,
        fenced.filter((name) => isOld(name, HOUR_MS)),
      ),
    );

  /** One round. Doing it on several instances at once is as good as doing it on one. `stopping` ends it between its two looks. */
  async function pass(stopping?: AbortSignal): Promise<void> {
    const suspects = await strayHolds();
    if (suspects.length > 0) {
      await sleep(clock, LOOK_AGAIN_MS, stopping);
      if (stopping?.aborted) return;
      const open = await openTurns();
      const stray = suspects.filter(({ turnId }) => !open.has(turnId));
      for (const hold of stray) await ofTenant(hold.tenantId, () => release(hold));
    }
    await dropOldFences();
  }

  return {
    pass,
    start: () => repeat({ clock, everyMs: HOUR_MS, task: pass, failed: (error) => log.upkeepFailed(null, error) }),
  };
}
