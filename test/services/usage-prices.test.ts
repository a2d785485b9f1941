import { describe, expect, it } from 'vitest';
import { ulid } from '../../src/kernel/ids.ts';
import { createPriceTable, NO_PRICES } from '../../src/usage/prices.ts';
import { modelRows } from '../../src/usage/summary.ts';
import { tallyOf } from '../../src/usage/tally.ts';
import { aTurn } from '../support/usage-rows.ts';

const NEW_YEAR = Date.parse('2026-01-01T00:00:00.000Z');
const JULY = Date.parse('2026-07-01T00:00:00.000Z');
const prices = createPriceTable({
  version: '2026-07',
  prices: [
    { model: 'nova', from: '2026-01-01T00:00:00Z', inputPerMillion: 0.06, outputPerMillion: 0.24 },
    { model: 'nova', from: '2026-07-01T00:00:00Z', inputPerMillion: 0.05, outputPerMillion: 0.2 },
    { model: 'sonnet', from: '2026-01-01T00:00:00Z', inputPerMillion: 3, outputPerMillion: 15 },
  ],
});
const use = (modelId: string | null, inputTokens = 1_000, outputTokens = 100) => ({
  ...{ modelId, inputTokens, outputTokens, estimatedTokens: 0 },
});
const costAt = (ms: number, modelId: string | null = 'nova') => prices.price(use(modelId), ms).nanoUsd;

describe('a model’s tokens cost', () => {
  it('what its price of that moment says, in billionths of a dollar', () => {
    expect(costAt(NEW_YEAR)).toBe(1_000 * 60 + 100 * 240);
    expect(costAt(JULY - 1)).toBe(1_000 * 60 + 100 * 240);
    expect(costAt(JULY)).toBe(1_000 * 50 + 100 * 200);
    expect(costAt(JULY, 'sonnet')).toBe(1_000 * 3_000 + 100 * 15_000);
  });

  it('nothing that is known before its first price, without one, and without a list: they are unpriced', () => {
    for (const nanoUsd of [costAt(NEW_YEAR - 1), costAt(JULY, 'opus'), costAt(JULY, null)]) expect(nanoUsd).toBeNull();
    expect(NO_PRICES.price(use('nova'), JULY).nanoUsd).toBeNull();
  });

  it('with unpriced tokens shown beside it, never guessed', () => {
    const models = [prices.price(use('nova'), JULY), prices.price(use('opus', 7, 3), JULY)];
    expect(modelRows(tallyOf(aTurn(JULY, { turnId: ulid(JULY), models })).models)).toMatchObject([
      { modelId: 'nova', costUsd: 0.00007, unpricedTokens: 0 },
      { modelId: 'opus', costUsd: 0, unpricedTokens: 10 },
    ]);
  });
});
