import { settle } from './clock.ts';

/** Lets everything go on that waits for no store and no timer. */
const SETTLE_TURNS = 4;

/** The way of one process to its stores. */
export interface GateMember {
  readonly alive: () => boolean;
  /** Whether it is to die at one of its next calls. */
  readonly doomed: () => boolean;
  /** Makes a call when the gate lets it pass. A process that died hears nothing any more. */
  pass<T>(name: string, call: () => Promise<T>): Promise<T>;
  /** The same store, every call of which waits at the gate. */
  guard<S extends object>(name: string, store: S): S;
  /** While it is frozen none of its calls is let through. */
  freeze(frozen: boolean): void;
  /** Dies: at once, or when `calls` more calls have been done, before it hears of the last of them. */
  die(calls?: number): void;
}

/**
 * Every call that any process makes to a store waits here, and one at a time is let through, by the choice of the test: so that
 * an interleaving is a list of numbers, and the same list gives the same interleaving.
 */
export interface StoreGate {
  member(): GateMember;
  /** Lets one of the waiting calls through, chosen by a number; false when none waits. */
  release(choice?: number): Promise<boolean>;
  /** Lets through what waits, in order, until nothing waits any more. */
  drain(): Promise<void>;
}

interface Waiting {
  readonly owner: GateMember;
  readonly frozen: () => boolean;
  readonly run: () => Promise<void>;
}

export function createStoreGate(done: (name: string, result: unknown) => void): StoreGate {
  let waiting: Waiting[] = [];

  function member(): GateMember {
    let left = Infinity;
    let still = false;
    const alive = () => left > 0;

    function pass<T>(name: string, call: () => Promise<T>): Promise<T> {
      const { promise, resolve, reject } = Promise.withResolvers<T>();
      const run = async () => {
        const outcome = await call().then(
          (value) => () => resolve(value),
          (error: unknown) => () => reject(error instanceof Error ? error : new Error(String(error))),
        );
        left--;
        if (alive()) outcome();
        else forget();
      };
      if (alive()) waiting.push({ owner: self, frozen: () => still, run });
      return promise.then((value) => {
        done(name, value);
        return value;
      });
    }

    const forget = () => {
      waiting = waiting.filter(({ owner }) => owner !== self);
    };

    const self: GateMember = {
      alive,
      doomed: () => left < Infinity,
      pass,
      guard: (name, store) =>
        Object.fromEntries(
          Object.entries(store).map(([method, call]) => [
            method,
            (...args: unknown[]) =>
              pass(`${name}.${method}`, () => (call as (...args: unknown[]) => Promise<unknown>)(...args)),
          ]),
        ) as typeof store,
      freeze(frozen) {
        still = frozen;
      },
      die(calls = 0) {
        left = Math.min(left, calls);
        if (!alive()) forget();
      },
    };
    return self;
  }

  async function release(choice = 0): Promise<boolean> {
    const open = waiting.filter(({ frozen }) => !frozen());
    const next = open[choice % Math.max(1, open.length)];
    if (!next) return false;
    waiting.splice(waiting.indexOf(next), 1);
    await next.run();
    await settle(SETTLE_TURNS);
    return true;
  }

  return {
    member,
    release,
    async drain() {
      await settle(SETTLE_TURNS);
      while (await release());
    },
  };
}
