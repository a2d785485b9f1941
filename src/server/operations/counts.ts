/** One of the things that something open counts for, and how many may be open of it at a time. */
export interface Share {
  readonly key: unknown;
  readonly of: string;
  readonly limit: number;
}

export type Counts = ReturnType<typeof createCounts>;

/** Counts what is open at the moment, by all that it counts for. */
export function createCounts() {
  const counts = new Map<unknown, number>();
  const countOf = (key: unknown) => counts.get(key) ?? 0;

  function add(key: unknown, change: 1 | -1) {
    const count = countOf(key) + change;
    if (count > 0) counts.set(key, count);
    else counts.delete(key);
  }

  return {
    /** The first share that is used up; null where there is room in all of them. */
    full: (shares: readonly Share[]): Share | null => shares.find(({ key, limit }) => countOf(key) >= limit) ?? null,
    /** Counts one more. The returned function, called once, counts it no longer. */
    enter(shares: readonly Share[]): () => void {
      for (const { key } of shares) add(key, 1);
      return () => {
        for (const { key } of shares) add(key, -1);
      };
    },
    /** How many different things are counted at the moment. */
    size: () => counts.size,
  };
}
