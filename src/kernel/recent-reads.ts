import type { Clock } from './clock.ts';

/** What was read a short while ago, so that it need not be read again. Several who ask at the same time wait for one read. */
export interface RecentReads<K, V> {
  /** What `read` gave for this key less than `maxAgeMs` ago, or gives now. A read that failed is no answer: the next one asks again. */
  get(key: K, read: () => Promise<V>): Promise<V>;
  /** Remembers what is known without a read, because it was just written here. */
  put(key: K, value: V): void;
  /** How many keys are remembered. */
  count(): number;
}

export interface RecentReadsOptions {
  readonly clock: Clock;
  readonly maxAgeMs: number;
  /** More keys than this and the oldest are forgotten early: it bounds memory, nothing else. */
  readonly keysMax: number;
}

export function createRecentReads<K, V>({ clock, maxAgeMs, keysMax }: RecentReadsOptions): RecentReads<K, V> {
  /** In the order in which they were read. */
  const entries = new Map<K, { readonly value: Promise<V>; readonly readAt: number }>();

  const isRecent = ({ readAt }: { readonly readAt: number }) => clock.now() - readAt < maxAgeMs;

  function tidy() {
    for (const [key, entry] of entries) {
      if (entries.size <= keysMax && isRecent(entry)) return;
      entries.delete(key);
    }
  }

  function remember(key: K, value: Promise<V>) {
    const entry = { value, readAt: clock.now() };
    entries.delete(key); // the newest stands last
    entries.set(key, entry);
    tidy();
    return entry;
  }

  return {
    get(key, read) {
      const known = entries.get(key);
      if (known && isRecent(known)) return known.value;
      const entry = remember(key, read());
      entry.value.catch(() => entries.get(key) === entry && entries.delete(key));
      return entry.value;
    },
    put: (key, value) => void remember(key, Promise.resolve(value)),
    count: () => entries.size,
  };
}
