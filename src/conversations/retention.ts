import { isoTime, type Clock } from '../kernel/clock.ts';
import { repeat } from '../kernel/repeating.ts';
import type { TenantId } from '../tenancy/tenant-id.ts';
import type { ConversationStore } from './ports.ts';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
/** Conversations of one tenant that are taken up together. */
const AT_ONCE = 25;

/** The moment that conversations must have been active after to be kept, as time is stored; null keeps all. */
const keptAfter = (days: number | null, clock: Clock): string | null =>
  days === null ? null : isoTime(clock.now() - days * DAY_MS);

/**
 * A tenant's conversations without those whose retention is over: they count as absent from that moment on, whenever they are
 * removed. It is reckoned from the last activity and today's retention, so a retention that is changed holds for all of them.
 */
export function keptConversations(store: ConversationStore, days: number | null, clock: Clock): ConversationStore {
  if (days === null) return store;
  return {
    ...store,
    async getMany(ids) {
      const after = keptAfter(days, clock) ?? '';
      const found = await store.getMany(ids);
      return found.map((conversation) => (conversation && conversation.updatedAt > after ? conversation : null));
    },
    list: (filter, page) => store.list({ ...filter, activeAfter: keptAfter(days, clock) }, page),
  };
}

export interface RetentionLog {
  /** Conversations of a tenant were handed over to be removed. */
  expired(tenantId: TenantId, count: number): void;
  /** A round failed, or what it does for one tenant; the next one tries again. */
  retentionFailed(tenantId: TenantId | null, error: unknown): void;
}

export interface RetentionDependencies {
  readonly tenants: () => AsyncIterable<TenantId>;
  /** The retention of a tenant in days; null keeps conversations for ever. */
  readonly daysOf: (tenantId: TenantId) => Promise<number | null>;
  readonly storeOf: (tenantId: TenantId) => Pick<ConversationStore, 'idle' | 'markDeleting'>;
  readonly clock: Clock;
  readonly log: RetentionLog;
}

/**
 * Removes conversations whose retention is over, once an hour. It only marks them as being deleted, unless they were used
 * meanwhile: the sweeper removes them from there, large contents, messages and all, as it finishes any deletion.
 */
export function createRetention({ tenants, daysOf, storeOf, clock, log }: RetentionDependencies) {
  async function expire(tenantId: TenantId): Promise<number> {
    const before = keptAfter(await daysOf(tenantId), clock);
    if (before === null) return 0;
    const store = storeOf(tenantId);
    let count = 0;
    for (;;) {
      const ids = await store.idle(before, AT_ONCE);
      const marked = await Promise.all(ids.map((id) => store.markDeleting(id, clock.now(), before)));
      const gone = marked.filter((state) => state !== null).length;
      count += gone;
      if (gone === 0) return count; // also where the list still shows what was marked a moment ago
    }
  }

  /** One round. Doing it on several instances at once is as good as doing it on one. */
  async function pass(stopping?: AbortSignal): Promise<void> {
    for await (const tenantId of tenants()) {
      if (stopping?.aborted) return;
      try {
        const count = await expire(tenantId);
        if (count > 0) log.expired(tenantId, count);
      } catch (error) {
        log.retentionFailed(tenantId, error);
      }
    }
  }

  return {
    pass,
    start: () => repeat({ clock, everyMs: HOUR_MS, task: pass, failed: (error) => log.retentionFailed(null, error) }),
  };
}
