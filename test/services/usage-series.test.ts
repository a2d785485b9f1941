import { describe, expect, it } from 'vitest';
import { DAY_MS, HOUR_MS } from '../../src/usage/periods.ts';
import { pointsOf, seriesBorders, type SeriesBucket } from '../../src/usage/series.ts';
import { summaryOf } from '../../src/usage/summary.ts';
import { addTo, emptyTally, tallyOf } from '../../src/usage/tally.ts';
import type { TenantId } from '../../src/tenancy/tenant-id.ts';
import { aTurn } from '../support/usage-rows.ts';

/** What a clock on a wall shows of a moment: the day, and for hours the hour too. */
function wallClock(timeZone: string, bucket: SeriesBucket) {
  const hour = bucket === 'HOUR' ? ({ hour: '2-digit', hourCycle: 'h23' } as const) : {};
  const format = new Intl.DateTimeFormat('sv', { timeZone, ...{ year: 'numeric', month: '2-digit', day: '2-digit' }, ...hour }); // prettier-ignore
  return (ms: number) => format.format(ms);
}

const bordersOf = (from: string, days: number, bucket: SeriesBucket, timeZone: string) => {
  const start = new Date(from);
  return seriesBorders({ start, end: new Date(start.getTime() + days * DAY_MS) }, bucket, timeZone);
};

describe('the days and hours of a series', () => {
  // Each begins at noon of the day before clocks change, and on the day itself.
  it.each([
    ['America/Santiago', '2026-09-05T16:00:00Z', 'midnight is left out'],
    ['America/Santiago', '2026-09-06T12:00:00Z', 'the first day has no midnight'],
    ['America/Santiago', '2026-04-04T16:00:00Z', 'an hour before midnight comes twice'],
    ['Africa/Cairo', '2026-04-24T03:00:00Z', 'the first day has no midnight'],
    ['America/Havana', '2026-03-08T12:00:00Z', 'the first day has no midnight'],
    ['America/Havana', '2026-11-01T05:30:00Z', 'midnight comes twice'],
    ['Australia/Lord_Howe', '2026-04-04T01:00:00Z', 'clocks go back by half an hour'],
    ['Australia/Lord_Howe', '2026-10-03T01:00:00Z', 'clocks go on by half an hour'],
    ['Asia/Kathmandu', '2026-02-27T00:00:00Z', 'off by three quarters of an hour'],
    ['Europe/Berlin', '2026-10-24T12:00:00Z', 'an hour comes twice'],
    ['Antarctica/Troll', '2026-03-28T12:00:00Z', 'clocks go on by two hours'],
    ['Pacific/Apia', '2011-12-29T00:00:00Z', 'a day is left out'],
    ['America/New_York', '2028-02-28T12:00:00Z', 'a leap day'],
  ])('are those of %s from %s, where %s', (timeZone, from) => {
    for (const bucket of ['DAY', 'HOUR'] as const) {
      const shown = wallClock(timeZone, bucket);
      const borders = bordersOf(from, 3, bucket, timeZone);
      for (const [index, start] of borders.slice(0, -1).entries()) {
        expect(shown(borders[index + 1]! - 1)).toBe(shown(start));
        // An hour that comes twice is two.
        const begins =
          shown(start) !== shown(start - 1) || (bucket === 'HOUR' && start - borders[index - 1]! === HOUR_MS);
        if (index > 0) expect([timeZone, start, begins]).toEqual([timeZone, start, true]);
      }
    }
  });

  it('cut a period of any length at nothing but them', () => {
    const start = new Date('2026-11-20T12:59:59.999Z');
    for (const ms of [1, 2])
      expect(seriesBorders({ start, end: new Date(start.getTime() + ms) }, 'HOUR', 'UTC')).toHaveLength(1 + ms);
  });

  it('of a zone are the same by every spelling of its name, and only one of them is kept', () => {
    const kept = new Set<string>();
    const plain = Intl.DateTimeFormat;
    const spellings = ['Europe/Berlin', 'europe/berlin', 'EUROPE/BERLIN', 'eUROPE/bERLIN'];
    const watched = function (locale: string, options: Intl.DateTimeFormatOptions) {
      if (options.timeZone && options.second) kept.add(options.timeZone); // as it is built to be kept
      return new plain(locale, options);
    };
    try {
      Intl.DateTimeFormat = watched as unknown as typeof plain;
      const all = spellings.map((name) => JSON.stringify(bordersOf('2026-11-20T12:00:00Z', 2, 'DAY', name)));
      expect(new Set(all).size).toBe(1);
    } finally {
      Intl.DateTimeFormat = plain;
    }
    expect([...kept].filter((name) => name !== 'Europe/Berlin')).toEqual([]);
  });
});

it('what a series and a summary say of the same cost is the same number', () => {
  const tally = emptyTally();
  for (const nanoUsd of [100_000_000, 200_000_000, 300_000_000]) {
    const use = { modelId: `model-${nanoUsd}`, inputTokens: 1, outputTokens: 0, estimatedTokens: 0, nanoUsd };
    addTo(tally, tallyOf(aTurn(0, { models: [use] })));
  }
  const tenantId = 'acme' as TenantId;
  const summary = summaryOf({ tenantId, start: '', end: '' }, tally, () => Promise.resolve([]));
  const [point] = pointsOf(tenantId, [0, 1], [tally], {});
  expect([summary.costUsd, point!.costUsd]).toEqual([0.6, 0.6]);
});
