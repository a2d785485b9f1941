import type { ModelTokens } from './model.ts';

/** What a model's tokens cost from a moment on, until a later price of the same model. */
export interface Price {
  readonly model: string;
  /** RFC 3339. */
  readonly from: string;
  /** US dollars for a million tokens. */
  readonly inputPerMillion: number;
  readonly outputPerMillion: number;
}

export interface PriceList {
  /** What the prices are called in the events they were used for. */
  readonly version: string;
  readonly prices: readonly Price[];
}

export interface PriceTable {
  readonly version: string | null;
  /** The use with what it cost at that moment: null, never a guess, where no price of the model was in force. */
  price(use: Omit<ModelTokens, 'nanoUsd'>, atMs: number): ModelTokens;
}

/** A dollar for a million tokens is a thousand billionths of a dollar for one. */
const NANO_USD_PER_TOKEN = 1_000;

export const NO_PRICES: PriceTable = { version: null, price: (use) => ({ ...use, nanoUsd: null }) };

export function createPriceTable({ version, prices }: PriceList): PriceTable {
  const newestFirst = prices
    .map((price) => ({ ...price, fromMs: Date.parse(price.from) }))
    .sort((a, b) => b.fromMs - a.fromMs);
  return {
    version,
    price(use, atMs) {
      const price = newestFirst.find(({ model, fromMs }) => model === use.modelId && fromMs <= atMs);
      if (!price) return { ...use, nanoUsd: null };
      const dollars = use.inputTokens * price.inputPerMillion + use.outputTokens * price.outputPerMillion;
      return { ...use, nanoUsd: Math.round(dollars * NANO_USD_PER_TOKEN) };
    },
  };
}
