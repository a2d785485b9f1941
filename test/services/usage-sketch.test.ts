import { describe, expect, it } from 'vitest';
import { bucketOf, quantile, SKETCH_ERROR, type LatencySketch } from '../../src/kernel/latency-sketch.ts';
import { addTo, emptyTally, type Tally } from '../../src/usage/tally.ts';

const sketchOf = (values: readonly number[]): LatencySketch =>
  values.reduce<LatencySketch>((sketch, ms) => addTo(sketch, { [bucketOf(ms)]: 1 }), {});
const trueRank = (values: readonly number[], share: number) =>
  values.toSorted((a, b) => a - b)[Math.max(0, Math.ceil(share * values.length) - 1)]!;

describe('a sketch of latencies', () => {
  it.each([
    ['every latency to 10 s', Array.from({ length: 10_000 }, (_, n) => n)],
    ['a few seconds, as answers take', Array.from({ length: 999 }, (_, n) => 800 + ((n * 7_919) % 4_000))],
    ['minutes', Array.from({ length: 50 }, (_, n) => 60_000 + n * 11_111)],
    ['one value', [1]],
    [
      'zeros and a long tail',
      [...Array.from({ length: 90 }, () => 0), ...Array.from({ length: 10 }, (_, n) => 10 ** n)],
    ],
  ])('of %s gives every percentile within 2 %%', (_name, values) => {
    const sketch = sketchOf(values);
    for (const share of [0.01, 0.5, 0.9, 0.95, 0.99, 1]) {
      const expected = trueRank(values, share);
      expect(Math.abs(quantile(sketch, share) - expected)).toBeLessThanOrEqual(expected * SKETCH_ERROR + 1e-9);
    }
  });

  it('of two parts added is that of the whole, whatever the order', () => {
    const values = Array.from({ length: 1_000 }, (_, n) => (n * 37) % 5_000);
    const parts = [sketchOf(values.slice(0, 300)), sketchOf(values.slice(300))] as const;
    const whole = sketchOf(values);
    expect({ ...addTo(addTo({}, parts[0]), parts[1]) }).toEqual({ ...whole });
    expect({ ...addTo(addTo({}, parts[1]), parts[0]) }).toEqual({ ...whole });
  });

  it('of nothing is 0', () => {
    expect(quantile({}, 0.5)).toBe(0);
  });
});

it('counters whose names are those of properties every object has are added like any other', () => {
  const models = (text: string) => JSON.parse(text) as Tally['models'];
  const { models: sum } = emptyTally();
  addTo(sum, models('{"__proto__": {"input": 1}, "constructor": {"input": 2}}'));
  addTo(sum, models('{"__proto__": {"input": 4}}'));
  expect(Object.entries(sum).map(([name, { input }]) => [name, input])).toEqual([
    ['__proto__', 5],
    ['constructor', 2],
  ]);
});
