/** How many latencies fell into each bucket, by the bucket's number: `0` holds those of 0 ms. */
export type LatencySketch = Record<string, number>;

/** Each quantile is at most this far from the true one, as a share of it. */
export const SKETCH_ERROR = 0.02;
const GAMMA = (1 + SKETCH_ERROR) / (1 - SKETCH_ERROR);
/** Buckets are numbered from 1 up: latencies are whole milliseconds, and 1 ms falls into the first one. */
const FIRST = 1;

/**
 * A DDSketch (Masson, Rim and Lee, 2019): buckets that grow by a constant factor. It is counters and nothing else, so sketches
 * are merged by adding them, in any order, with the same result.
 */
export const bucketOf = (ms: number): string =>
  ms < 1 ? '0' : String(Math.ceil(Math.log(ms) / Math.log(GAMMA)) + FIRST);

const valueOf = (bucket: number): number => (bucket === 0 ? 0 : (2 * GAMMA ** (bucket - FIRST)) / (GAMMA + 1));

/** The value below or at which this share of all values lies, within 2 %; 0 for an empty sketch. */
export function quantile(sketch: Readonly<LatencySketch>, share: number): number {
  const buckets = Object.entries(sketch)
    .map(([bucket, count]) => [Number(bucket), count] as const)
    .sort(([a], [b]) => a - b);
  const total = buckets.reduce((sum, [, count]) => sum + count, 0);
  let left = Math.max(1, Math.ceil(share * total));
  for (const [bucket, count] of buckets) {
    left -= count;
    if (left <= 0) return valueOf(bucket);
  }
  return 0;
}
