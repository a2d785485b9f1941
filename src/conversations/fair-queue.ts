import { elapsedSince, type Clock } from '../kernel/clock.ts';
import { AppError } from '../kernel/errors.ts';
import type { TenantId } from '../tenancy/tenant-id.ts';
import type { GenerationSlots } from './ports.ts';

/** How long a tenant whose places are all taken on other instances waits before it asks again, unless it hears of a free one. */
const ASK_AGAIN_MS = 1_000;
/** What a turn is taken to last before any has ended, and how fast that follows those that do. */
const TURN_MS_GUESS = 5_000;
const TURN_MS_WEIGHT = 0.1;
const RETRY_MS_MIN = 1_000;
const RETRY_MS_MAX = 60_000;

export interface FairQueueOptions {
  /** Turns that run at the same time in this process, of all tenants and of one. */
  readonly runningMax: number;
  readonly runningPerTenantMax: number;
  /** Turns that may wait for that, of all tenants and of one. */
  readonly waitingMax: number;
  readonly waitingPerTenantMax: number;
  /** How long a turn may wait. */
  readonly deadlineMs: number;
  /** Turns of a tenant that run for one of a tenant of weight 1 while both wait: a whole number from 1. */
  readonly weightOf: (tenantId: TenantId) => number;
}

export interface FairQueueDependencies {
  readonly options: FairQueueOptions;
  readonly slots: GenerationSlots;
  readonly clock: Clock;
}

/** A turn's place in the queue. */
export interface Place {
  /**
   * Resolves once the turn may run.
   * @throws RATE_LIMITED (`retryable`, `retryAfterMs`) when it waited too long; the reason of `signal` when that aborts.
   */
  turnToRun(signal: AbortSignal): Promise<void>;
  /** The turns that are to run before this one, and itself: 1 is the next. 0 where it does not wait. */
  position(): number;
  /** Gives the place back, whether it waits or runs. A wait that is under way then never ends: abort it instead. */
  leave(): void;
}

/** The turns in front of the agents. */
export interface FairQueue {
  /**
   * Takes a place for a turn that is about to be stored. `max`: the tenant's own limit of running turns, over all instances; null: none.
   * @throws RATE_LIMITED with `retryAfterMs` when too many wait already.
   */
  enter(tenantId: TenantId, turnId: string, max: number | null): Place;
  running(): number;
  waiting(): number;
}

interface Waiting {
  readonly turnId: string;
  readonly tenant: Line;
  /**
   * ENTERED: it has a place, and is being stored. WAITING: it stands in its tenant's line. STARTING: it counts as running, and its tenant
   * asks whether it may, over all instances; if not, it WAITs again, first in its line. RUNNING, until it has LEFT.
   * A turn that leaves while STARTING gives back what it took when that is known.
   */
  state: 'ENTERED' | 'WAITING' | 'STARTING' | 'RUNNING' | 'LEFT';
  begin: () => void;
  /** Forgets the deadline and the signal. */
  settle: () => void;
  /** Whether it asked for one of its tenant's places, which it has to give back then, whatever the limit is by now. */
  shared: boolean;
  startedAt: number;
}

/** One tenant's turns. */
interface Line {
  readonly tenantId: TenantId;
  readonly weight: number;
  readonly waiting: Waiting[];
  max: number | null;
  /** Turns that have a place and have not been started yet. */
  pending: number;
  running: number;
  /** Turns it may still start before the next tenant has its turn. */
  deficit: number;
  /** It is asking for one of its places on all instances: one question at a time, so that its turns keep their order. */
  asking: boolean;
  /** All of them were taken when it last asked. */
  held: boolean;
  /** Forgets that it is to ask again. */
  cancelAsking: () => void;
}

/**
 * Deficit round robin (Shreedhar and Varghese, 1995) over the tenants that wait, with every turn costing one: a tenant with one
 * turn waits for one turn of each other tenant, however many those have waiting.
 */
export function createFairQueue({ options, slots, clock }: FairQueueDependencies): FairQueue {
  const lines = new Map<TenantId, Line>();
  /** The tenants with waiting turns; the first one is served next. */
  const round: Line[] = [];
  let running = 0;
  let pending = 0;
  let turnMs = TURN_MS_GUESS;

  slots.onFreed((tenantId) => {
    const line = lines.get(tenantId);
    if (line) release(line);
  });

  function lineOf(tenantId: TenantId): Line {
    const known = lines.get(tenantId);
    if (known) return known;
    const weight = options.weightOf(tenantId);
    const line: Line = {
      tenantId,
      weight,
      waiting: [],
      max: null,
      pending: 0,
      running: 0,
      deficit: 0,
      asking: false,
      held: false,
      cancelAsking: () => undefined,
    };
    lines.set(tenantId, line);
    return line;
  }

  const capOf = ({ max }: Line): number => Math.min(options.runningPerTenantMax, max ?? Infinity);

  /** About when a place will be free: what waits now, at the pace of late. */
  function retryAfterMs(): number {
    const estimate = (turnMs * (pending + 1)) / options.runningMax;
    return Math.round(Math.min(RETRY_MS_MAX, Math.max(RETRY_MS_MIN, estimate)));
  }

  const full = (message: string) =>
    new AppError('RATE_LIMITED', message, { retryable: true, retryAfterMs: retryAfterMs() });

  function release(line: Line) {
    line.cancelAsking(); // or every place heard of would add a question a second
    line.held = false;
    pump();
  }

  /** The turn that is served next, by the round; undefined when none may run now. */
  function next(): Waiting | undefined {
    for (let looked = 0; looked < round.length; looked++) {
      const [line] = round;
      if (!line) return undefined;
      if (!line.held && !line.asking && line.running < capOf(line)) {
        if (line.deficit === 0) line.deficit = line.weight;
        line.deficit--;
        const turn = line.waiting.shift();
        if (line.waiting.length === 0) remove(round, line);
        else if (line.deficit === 0) round.push(...round.splice(0, 1));
        if (line.waiting.length === 0) line.deficit = 0;
        return turn;
      }
      round.push(...round.splice(0, 1));
    }
    return undefined;
  }

  function pump() {
    while (running < options.runningMax) {
      const turn = next();
      if (!turn) return;
      start(turn);
    }
  }

  function count(line: Line, more: { readonly pending: number; readonly running: number }) {
    pending += more.pending;
    line.pending += more.pending;
    running += more.running;
    line.running += more.running;
  }

  function start(turn: Waiting) {
    const { tenant: line } = turn;
    turn.state = 'STARTING';
    count(line, { pending: -1, running: 1 });
    turn.shared = line.max !== null;
    if (line.max === null) return begin(turn);
    line.asking = true;
    void slots.take(line.tenantId, turn.turnId, line.max).then(
      (taken) => (taken ? begin(turn) : putBack(turn)),
      () => begin(turn), // nobody can say what runs elsewhere: this process's own limit holds
    );
  }

  function begin(turn: Waiting) {
    const { tenant: line } = turn;
    line.asking = false;
    if (turn.state === 'LEFT') return finish(turn);
    turn.state = 'RUNNING';
    turn.settle();
    turn.startedAt = clock.now();
    turn.begin();
    pump();
  }

  function putBack(turn: Waiting) {
    const { tenant: line } = turn;
    const left = turn.state === 'LEFT';
    line.asking = false;
    line.held = true;
    count(line, { pending: left ? 0 : 1, running: -1 });
    if (!left) {
      turn.state = 'WAITING';
      line.waiting.unshift(turn);
      if (!round.includes(line)) round.push(line);
    }
    line.cancelAsking();
    line.cancelAsking = clock.after(ASK_AGAIN_MS, () => release(line));
    forget(line);
    pump();
  }

  /** Gives back what a turn holds that was started. */
  function finish({ tenant: line, turnId, shared }: Waiting) {
    count(line, { pending: 0, running: -1 });
    if (shared) void slots.release(line.tenantId, turnId);
    forget(line);
    pump();
  }

  function forget(line: Line) {
    if (line.pending + line.running > 0) return;
    line.cancelAsking();
    lines.delete(line.tenantId);
  }

  function leave(turn: Waiting) {
    const { tenant: line, state } = turn;
    if (state === 'LEFT') return;
    turn.state = 'LEFT';
    turn.settle();
    if (state === 'RUNNING') {
      turnMs += TURN_MS_WEIGHT * (elapsedSince(clock, turn.startedAt) - turnMs);
      return finish(turn);
    }
    if (state === 'STARTING') return; // what it has taken is given back once that is known
    count(line, { pending: -1, running: 0 });
    if (state === 'WAITING') {
      remove(line.waiting, turn);
      if (line.waiting.length === 0) remove(round, line);
    }
    forget(line);
  }

  function position(turn: Waiting): number {
    const { tenant: line } = turn;
    const place = line.waiting.indexOf(turn);
    if (place < 0) return 0;
    const started = (each: Line, visits: number) =>
      visits === 0 ? 0 : (each.deficit || each.weight) + (visits - 1) * each.weight;
    let visits = 1;
    while (started(line, visits) <= place) visits++;
    const own = round.indexOf(line);
    return round.reduce((sum, each, index) => {
      if (each === line) return sum;
      return sum + Math.min(each.waiting.length, started(each, index < own ? visits : visits - 1));
    }, place + 1);
  }

  function turnToRun(turn: Waiting, signal: AbortSignal): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const giveUp = (reason: Error) => {
      leave(turn);
      reject(reason);
    };
    const aborted = () => giveUp(signal.reason as Error);
    if (signal.aborted) {
      aborted();
      return promise;
    }
    const cancel = clock.after(options.deadlineMs, () => giveUp(full('The answer waited too long for its turn.')));
    signal.addEventListener('abort', aborted, { once: true });
    turn.settle = () => {
      cancel();
      signal.removeEventListener('abort', aborted);
    };
    turn.begin = resolve;
    turn.state = 'WAITING';
    turn.tenant.waiting.push(turn);
    if (!round.includes(turn.tenant)) round.push(turn.tenant);
    pump();
    return promise;
  }

  return {
    enter(tenantId, turnId, max) {
      const line = lineOf(tenantId);
      line.max = max;
      const free = Math.max(0, options.runningMax - running);
      const freeHere = Math.max(0, Math.min(free, capOf(line) - line.running));
      if (pending >= options.waitingMax + free) throw full('Too many answers are waiting.');
      if (line.pending >= options.waitingPerTenantMax + freeHere)
        throw full('Too many answers of this tenant are waiting.');
      count(line, { pending: 1, running: 0 });
      const turn: Waiting = {
        turnId,
        tenant: line,
        state: 'ENTERED',
        begin: () => undefined,
        settle: () => undefined,
        shared: false,
        startedAt: 0,
      };
      return {
        turnToRun: (signal) => turnToRun(turn, signal),
        position: () => position(turn),
        leave: () => leave(turn),
      };
    },
    running: () => running,
    waiting: () => round.reduce((sum, line) => sum + line.waiting.length, 0),
  };
}

function remove<T>(list: T[], entry: T) {
  const index = list.indexOf(entry);
  if (index >= 0) list.splice(index, 1);
}
