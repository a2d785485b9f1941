import { isoTime, type Clock } from '../kernel/clock.ts';
import { ulid } from '../kernel/ids.ts';
import { repeat } from '../kernel/repeating.ts';
import type { TenantId } from '../tenancy/tenant-id.ts';
import { alertName, type UsageAlert } from './model.ts';
import type { AlertStore, WebhookStore } from './ports.ts';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
/** Alerts this process remembers to have been recorded; more, and it begins anew: that costs a write each, and changes nothing. */
const KNOWN_MAX = 10_000;

/** What a tenant has used in a UTC day and month, without what is held for turns that have not ended. */
export interface TokenUse {
  /** `2026-11` */
  readonly month: string;
  /** `20` */
  readonly day: string;
  readonly usedInMonth: number;
  readonly usedOnDay: number;
}

/** The limits of a tenant, and the percentages of them it is alerted at; null, or left out: those of the installation. */
export interface AlertTerms {
  readonly limits: { readonly tokensPerDay: number | null; readonly tokensPerMonth: number | null };
  readonly alertPercentages?: readonly number[] | null;
}

export interface AlertWatchLog {
  recorded(alert: UsageAlert): void;
  /** It is tried again with the tenant's next turn, and within the hour. */
  recordingFailed(tenantId: TenantId | null, error: unknown): void;
}

export interface AlertWatchDependencies {
  /** The percentages of tenants that have set none of their own. */
  readonly percentages: readonly number[];
  readonly storesOf: (tenantId: TenantId) => { readonly alerts: AlertStore; readonly webhook: WebhookStore };
  readonly tenants: () => AsyncIterable<TenantId>;
  /** Null for a tenant that nobody is to be alerted of. */
  readonly termsOf: (tenantId: TenantId) => Promise<AlertTerms | null>;
  readonly useAt: (tenantId: TenantId, ms: number) => Promise<TokenUse>;
  readonly clock: Clock;
  readonly log: AlertWatchLog;
}

type Reached = Pick<UsageAlert, 'limit' | 'period' | 'percentage' | 'limitTokens' | 'usedTokens'>;

function reached(use: TokenUse, { limits, alertPercentages }: AlertTerms, byDefault: readonly number[]): Reached[] {
  const { month, day, usedInMonth, usedOnDay } = use;
  const windows = [
    { limit: 'TOKENS_PER_DAY', period: `${month}-${day}`, limitTokens: limits.tokensPerDay, usedTokens: usedOnDay },
    { limit: 'TOKENS_PER_MONTH', period: month, limitTokens: limits.tokensPerMonth, usedTokens: usedInMonth },
  ] as const;
  return windows.flatMap(({ limitTokens, usedTokens, ...window }) => {
    if (limitTokens === null || usedTokens <= 0) return [];
    const passed = (alertPercentages ?? byDefault).filter((share) => usedTokens * 100 >= limitTokens * share);
    return passed.map((percentage) => ({ ...window, limitTokens, usedTokens, percentage }));
  });
}

/**
 * Records an alert when a tenant's use reaches a percentage of a limit. It looks at what is used, not at the turn that took it
 * there: whatever a crash kept from being recorded, the next turn brings, or the hourly look at every tenant. The alert's row is what
 * makes it one; what this process remembers only saves writing it again.
 */
export function createAlertWatch(deps: AlertWatchDependencies) {
  const { percentages, storesOf, tenants, termsOf, useAt, clock, log } = deps;
  const known = new Set<string>();

  async function record(tenantId: TenantId, one: Reached) {
    const { alerts, webhook } = storesOf(tenantId);
    const state = (await webhook.get()) === null ? 'NONE' : 'PENDING';
    const now = clock.now();
    const delivery = { state, attempts: 0, deliveredAt: null, lastError: null } as const;
    const nextAttemptAt = state === 'PENDING' ? isoTime(now) : null;
    const alert = {
      ...{ tenantId, id: `alert-${ulid(now)}`, at: isoTime(now) },
      ...{ ...one, delivery: { ...delivery, nextAttemptAt } },
    };
    if (await alerts.record(alert)) log.recorded(alert);
  }

  async function look(tenantId: TenantId, use: TokenUse, terms: AlertTerms): Promise<void> {
    for (const one of reached(use, terms, percentages)) {
      const name = `${tenantId} ${alertName(one)}`;
      if (known.has(name)) continue;
      if (known.size >= KNOWN_MAX) known.clear();
      known.add(name);
      await record(tenantId, one).catch((error: unknown) => {
        known.delete(name);
        throw error;
      });
    }
  }

  async function lookAt(tenantId: TenantId) {
    const terms = await termsOf(tenantId);
    if (terms === null) return;
    if (terms.limits.tokensPerDay === null && terms.limits.tokensPerMonth === null) return;
    // Yesterday too: its last turns may have ended since the last look.
    for (const ms of [clock.now() - DAY_MS, clock.now()]) await look(tenantId, await useAt(tenantId, ms), terms);
  }

  /** One look at every tenant, for what was reached without being recorded. */
  async function pass(stopping?: AbortSignal): Promise<void> {
    for await (const tenantId of tenants()) {
      if (stopping?.aborted) return;
      // One tenant that cannot be looked at must not hold up the others.
      await lookAt(tenantId).catch((error: unknown) => log.recordingFailed(tenantId, error));
    }
  }

  return {
    /** Told of what a tenant has used, each time a turn was settled. It holds nobody up, and calls no store unless there is something new. */
    settled(tenantId: TenantId, use: TokenUse, terms: AlertTerms): void {
      void look(tenantId, use, terms).catch((error: unknown) => log.recordingFailed(tenantId, error));
    },
    pass,
    start: () => repeat({ clock, everyMs: HOUR_MS, task: pass, failed: (error) => log.recordingFailed(null, error) }),
  };
}
