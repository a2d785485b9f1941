import { isoTime, type Clock } from '../kernel/clock.ts';
import { createEventQueue, type EventQueue } from '../kernel/event-queue.ts';
import type { TenantId } from '../tenancy/tenant-id.ts';
import type { LiveUsage, UsageWindow } from './model.ts';
import { DAY_MS, MINUTE_MS, type Span } from './periods.ts';
import type { BaseTally, QuotaStore, TokenLimits, UsageChanges, UsageStore } from './ports.ts';
import { readTally } from './reading.ts';

/** The counters of a tenant are read and pushed at most this often, however much changes. */
export const PUSH_EVERY_MS = 1_000;
/** How long the days before today are taken to stand: only an event that comes late changes them. */
const EARLIER_KEPT_MS = MINUTE_MS;

export interface LiveUsageSource {
  readonly tenantId: TenantId;
  readonly store: UsageStore;
  readonly quota: QuotaStore;
  /** The limits as they are now: whoever watches is to see them change. */
  readonly limits: () => Promise<TokenLimits>;
}

const dayOf = (now: number): Span => {
  const start = Math.floor(now / DAY_MS) * DAY_MS;
  return { start, end: start + DAY_MS };
};

function monthOf(now: number): Span {
  const at = new Date(now);
  const [year, month] = [at.getUTCFullYear(), at.getUTCMonth()];
  return { start: Date.UTC(year, month), end: Date.UTC(year, month + 1) };
}

/** Reads the present counters. The days before today are kept for a minute. */
function createReader({ tenantId, store, quota, limits: currentLimits }: LiveUsageSource, clock: Clock) {
  let earlier: (Span & { readonly at: number; readonly tally: BaseTally }) | null = null;

  async function earlierDays(start: number, end: number): Promise<BaseTally> {
    const stands =
      earlier?.start === start && earlier.end === end && Math.abs(clock.now() - earlier.at) < EARLIER_KEPT_MS;
    if (earlier && stands) return earlier.tally;
    const tally = await readTally(store, { start, end });
    earlier = { start, end, at: clock.now(), tally };
    return tally;
  }

  return async (): Promise<LiveUsage> => {
    const now = clock.now();
    const [day, month] = [dayOf(now), monthOf(now)];
    const date = isoTime(now);
    const [limits, today, before, used] = await Promise.all([
      currentLimits(),
      readTally(store, day), // to its end: the clock of another instance may be ahead of this one
      earlierDays(month.start, day.start),
      quota.state(date.slice(0, 7), date.slice(8, 10)),
    ]);
    const window = (span: Span, tallies: readonly BaseTally[], limit: number | null, taken: number): UsageWindow => ({
      start: isoTime(span.start),
      invocations: tallies.reduce((sum, { services }) => sum + services.RUNTIME.calls, 0),
      inputTokens: tallies.reduce((sum, { input }) => sum + input, 0),
      outputTokens: tallies.reduce((sum, { output }) => sum + output, 0),
      tokensLimit: limit,
      tokensRemaining: limit === null ? null : Math.max(0, limit - taken),
      resetsAt: isoTime(span.end),
    });
    return {
      tenantId,
      at: date,
      activeGenerations: Object.keys(used.holds).length,
      day: window(day, [today], limits.tokensPerDay, used.usedOnDay),
      month: window(month, [today, before], limits.tokensPerMonth, used.usedInMonth),
    };
  };
}

interface Hub {
  readonly readers: Set<EventQueue<LiveUsage>>;
  readonly stop: () => void;
  /** Has the counters read, now or when a second has passed since they were. */
  readonly refresh: () => void;
}

export interface LiveUsages {
  /**
   * The counters of a tenant: as they are now, and again whenever they have changed, at most once a second, and when a new day begins.
   * `return()` takes effect at once.
   */
  watch(source: LiveUsageSource): AsyncIterableIterator<LiveUsage>;
}

/** One reading for all who watch a tenant on this instance. */
export function createLiveUsages(changes: UsageChanges, clock: Clock): LiveUsages {
  const hubs = new Map<TenantId, Hub>();

  function openHub(source: LiveUsageSource): Hub {
    const read = createReader(source, clock);
    const readers = new Set<EventQueue<LiveUsage>>();
    let readAt = -Infinity;
    let reading = false;
    let again = false;
    let cancel = () => {};

    async function push() {
      reading = true;
      again = false;
      readAt = clock.now();
      try {
        const usage = await read();
        for (const reader of readers) reader.push(usage);
      } catch (error) {
        for (const reader of [...readers]) reader.fail(error);
      }
      reading = false;
      plan();
    }

    /** At the next change, or when the day is over and its counters begin anew. */
    function plan() {
      cancel();
      if (readers.size === 0 || reading) return;
      const now = clock.now();
      if (now < readAt) readAt = now; // the clock was put back
      cancel = clock.after(again ? Math.max(0, readAt + PUSH_EVERY_MS - now) : dayOf(now).end - now, () => void push());
    }

    function refresh() {
      again = true;
      plan();
    }

    const stopListening = changes.onChange(source.tenantId, refresh);
    return {
      readers,
      refresh,
      stop() {
        cancel();
        stopListening();
        hubs.delete(source.tenantId);
      },
    };
  }

  return {
    watch(source) {
      const joined = hubs.get(source.tenantId) ?? openHub(source);
      hubs.set(source.tenantId, joined);
      const queue: EventQueue<LiveUsage> = createEventQueue<LiveUsage>({
        onEnd() {
          joined.readers.delete(queue);
          if (joined.readers.size === 0) joined.stop();
        },
      });
      joined.readers.add(queue);
      joined.refresh();
      return queue;
    },
  };
}
