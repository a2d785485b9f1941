import type { Clock } from '../kernel/clock.ts';
import { AppError } from '../kernel/errors.ts';
import type { TenantId } from '../tenancy/tenant-id.ts';

/** A tenant's share of the agents' capacity. */
export interface Share {
  /** Turns of the tenant that run at the same time at most. */
  readonly runningMax: number;
  /** Turns it may begin in a round, relative to others. */
  readonly weight: number;
}

export interface FairQueueOptions {
  /** Turns of all tenants that run at the same time. */
  readonly capacity: number;
  /** Turns of one tenant that wait at most. */
  readonly waitingMax: number;
  /** How long a turn may wait, in milliseconds. */
  readonly deadlineMs: number;
  readonly clock: Clock;
}

/** A turn's place before the agents. */
export interface Place {
  /** How many turns will be served before this one if nobody else comes; 0: it may run. */
  position(): number;
  /** Resolves when the turn may run. @throws RATE_LIMITED when it waited too long; the reason of `signal` when that aborts. */
  turnToRun(signal: AbortSignal): Promise<void>;
  /** Gives the place up, whether waiting or running. Calling it again changes nothing. */
  leave(): void;
}

export interface FairQueue {
  /** @throws RATE_LIMITED with `retryAfterMs` when the tenant has too many turns waiting. */
  enter(tenantId: TenantId, share: Share): Place;
  waiting(): number;
  running(): number;
}

interface Waiting {
  readonly start: () => void;
}

interface Lane {
  share: Share;
  readonly waiting: Waiting[];
  running: number;
  /** Turns it may still begin in this round. */
  deficit: number;
}

const full = (retryAfterMs: number) =>
  new AppError('RATE_LIMITED', 'Too many turns of this tenant are waiting.', { retryAfterMs });

const tooLate = (retryAfterMs: number) =>
  new AppError('RATE_LIMITED', 'The turn waited too long for its agent.', { retryable: true, retryAfterMs });

/**
 * Turns wait here until an agent may be asked. Deficit round robin between tenants (Shreedhar and Varghese, 1996), each turn
 * counting one: a tenant's only turn is served before the second one of a tenant that has hundreds waiting.
 */
export function createFairQueue({ capacity, waitingMax, deadlineMs, clock }: FairQueueOptions): FairQueue {
  const lanes = new Map<TenantId, Lane>();
  /** Tenants with turns waiting, the one whose round it is first. */
  const ring: Lane[] = [];
  let running = 0;

  const mayRun = (lane: Lane) => lane.waiting.length > 0 && lane.running < lane.share.runningMax;

  /** Starts what may be started: each lane in its round, as many as its weight allows. */
  function serve() {
    let passed = 0;
    while (running < capacity && passed < ring.length) {
      const [lane] = ring;
      if (!lane) return;
      if (lane.deficit < 1 && mayRun(lane)) lane.deficit += lane.share.weight;
      if (!mayRun(lane) || lane.deficit < 1) {
        endRound(lane);
        if (lane.waiting.length > 0) passed++;
        continue;
      }
      passed = 0;
      lane.deficit--;
      lane.running++;
      running++;
      lane.waiting.shift()?.start();
      if (lane.deficit < 1 || lane.waiting.length === 0) endRound(lane);
    }
  }

  /** To the end of the ring, or out of it when nothing waits; unused allowance is not saved up while nothing waits. */
  function endRound(lane: Lane) {
    ring.shift();
    if (lane.waiting.length > 0) ring.push(lane);
    else lane.deficit = 0;
  }

  function laneOf(tenantId: TenantId, share: Share): Lane {
    const lane = lanes.get(tenantId) ?? { share, waiting: [], running: 0, deficit: 0 };
    lane.share = share;
    lanes.set(tenantId, lane);
    return lane;
  }

  /** Turns that are served before this one: round by round, every lane gets its weight. */
  function positionOf(lane: Lane, waiting: Waiting): number {
    const index = lane.waiting.indexOf(waiting);
    if (index < 0) return 0;
    const rounds = Math.ceil((index + 1) / lane.share.weight);
    const others = ring.filter((other) => other !== lane);
    return (
      index + 1 + others.reduce((sum, other) => sum + Math.min(other.waiting.length, rounds * other.share.weight), 0)
    );
  }

  return {
    waiting: () => ring.reduce((sum, lane) => sum + lane.waiting.length, 0),
    running: () => running,

    enter(tenantId, share) {
      const lane = laneOf(tenantId, share);
      if (lane.waiting.length >= waitingMax) throw full(deadlineMs);
      const started = Promise.withResolvers<void>();
      started.promise.catch(() => undefined); // nobody may be waiting for it any more
      let state: 'waiting' | 'running' | 'left' = 'waiting';
      const entry: Waiting = {
        start() {
          state = 'running';
          cancelDeadline();
          started.resolve();
        },
      };
      const cancelDeadline = clock.after(deadlineMs, () => {
        if (state !== 'waiting') return;
        leave();
        started.reject(tooLate(deadlineMs));
      });

      function leave() {
        cancelDeadline();
        if (state === 'waiting') {
          lane.waiting.splice(lane.waiting.indexOf(entry), 1);
        } else if (state === 'running') {
          lane.running--;
          running--;
        }
        const left = state;
        state = 'left';
        if (lane.running === 0 && lane.waiting.length === 0) lanes.delete(tenantId);
        if (left === 'running') serve();
      }

      lane.waiting.push(entry);
      if (!ring.includes(lane)) ring.push(lane);
      serve();

      return {
        position: () => positionOf(lane, entry),
        async turnToRun(signal) {
          const aborted = Promise.withResolvers<never>();
          const abort = () => aborted.reject(signal.reason as Error);
          if (signal.aborted) abort();
          signal.addEventListener('abort', abort, { once: true });
          try {
            await Promise.race([started.promise, aborted.promise]);
          } finally {
            signal.removeEventListener('abort', abort);
          }
        },
        leave,
      };
    },
  };
}
