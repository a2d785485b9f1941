import type { ConversationStores } from '../../src/conversations/ports.ts';

type Hook = (...args: readonly never[]) => unknown;

/** A wait that never ends: what a process that died is left with. */
const never = <T>(): Promise<T> => new Promise<T>(() => undefined);

/** Stores that can be watched, made to fail, held up, and cut off as when their process dies. */
export interface WatchedStores {
  readonly stores: ConversationStores;
  /** Names of finished calls, in order, e.g. `turns.renew`. */
  readonly finished: readonly string[];
  /** Runs before every such call; what it throws is what the call throws. Null takes it away. */
  before(name: string, hook: Hook | null): void;
  /** Resolves once `count` calls of this name have finished, counted from the beginning. */
  until(name: string, count?: number): Promise<void>;
  /** From now on nothing is sent any more, and nothing answers. */
  die(): void;
  /** Dies as soon as a call of this name has been done, before its caller hears of it. Resolves then. */
  dieAfter(name: string): Promise<void>;
}

export function watchStores(inner: ConversationStores): WatchedStores {
  const finished: string[] = [];
  const hooks = new Map<string, Hook>();
  const waiting: { name: string; count: number; resolve: () => void }[] = [];
  const fatal = new Map<string, () => void>();
  let dead = false;

  const times = (name: string) => finished.filter((each) => each === name).length;

  function wrap<F extends (...args: never[]) => Promise<unknown>>(name: string, call: F): F {
    return (async (...args: never[]) => {
      if (dead) return never();
      await hooks.get(name)?.(...args);
      if (dead) return never();
      const result = await call(...args);
      finished.push(name);
      const last = fatal.get(name);
      if (last) {
        dead = true;
        last();
      }
      for (const each of waiting) if (each.name === name && times(name) >= each.count) each.resolve();
      return dead ? never() : result;
    }) as F;
  }

  const watched = Object.fromEntries(
    Object.entries(inner).map(([store, methods]) => [
      store,
      Object.fromEntries(
        Object.entries(methods as Record<string, unknown>).map(([method, call]) => [
          method,
          typeof call === 'function' ? wrap(`${store}.${method}`, call as () => Promise<unknown>) : call,
        ]),
      ),
    ]),
  ) as unknown as ConversationStores;

  return {
    stores: watched,
    finished,
    before: (name, hook) => (hook ? hooks.set(name, hook) : hooks.delete(name)),
    until: (name, count = 1) =>
      new Promise((resolve) => {
        if (times(name) >= count) resolve();
        else waiting.push({ name, count, resolve });
      }),
    die: () => {
      dead = true;
    },
    dieAfter: (name) => new Promise((resolve) => fatal.set(name, resolve)),
  };
}
