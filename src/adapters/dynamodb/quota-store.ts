import type { QuotaPeriod, QuotaState, QuotaStore, TokenLimits } from '../../usage/ports.ts';
import type { TenantRows } from './conversation-store.ts';
import { absent, anyOf, below, equals, present, type Condition } from './expressions.ts';
import type { Item } from './table.ts';

const HOLD = 'r:';
const FENCE = 'x:';
/** An expression is at most 4 KB long (AWS). */
const FENCES_AT_ONCE = 200;
const dayAttribute = (day: string): string => `d${day}`;

const number = (value: unknown): number => (typeof value === 'number' ? value : 0);

function stateOf(row: Item | null, day?: string): QuotaState {
  const entries = Object.entries(row ?? {});
  const named = (prefix: string) => entries.filter(([name]) => name.startsWith(prefix));
  return {
    usedInMonth: number(row?.['used']),
    usedOnDay: day === undefined ? 0 : number(row?.[dayAttribute(day)]),
    holds: Object.fromEntries(named(HOLD).map(([name, tokens]) => [name.slice(HOLD.length), number(tokens)])),
    fenced: named(FENCE).map(([name]) => name.slice(FENCE.length)),
  };
}

/** A counter below its limit; one that was not begun is at 0. */
const room = (counter: string, limit: number | null): Condition[] => {
  if (limit === null) return [];
  return [limit > 0 ? anyOf(absent(counter), below(counter, limit)) : below(counter, limit)];
};

/** Month and day are counted in one write, and so are the hold and both counters: whatever is lost or repeated, they agree. */
export function createQuotaStore({ table, keys }: TenantRows): QuotaStore {
  const counters = ({ day }: QuotaPeriod, tokens: number) => ({ used: tokens, [dayAttribute(day)]: tokens });
  const limitsOf = ({ day }: QuotaPeriod, { tokensPerDay, tokensPerMonth }: TokenLimits) => [
    ...room('used', tokensPerMonth),
    ...room(dayAttribute(day), tokensPerDay),
  ];

  return {
    state: async (month, day) => stateOf(await table.get(keys.quota(month)), day),

    async reserve(turnId, period, tokens, limits) {
      const result = await table.update(
        keys.quota(period.month),
        { set: { [HOLD + turnId]: tokens }, add: counters(period, tokens) },
        absent(HOLD + turnId),
        absent(FENCE + turnId),
        ...limitsOf(period, limits),
      );
      // An answer that was lost: the hold is there although the repeated write was refused.
      if (result.done || result.current?.[HOLD + turnId] !== undefined) return null;
      return stateOf(result.current, period.day);
    },

    async raise(turnId, period, { from, to }, limits) {
      const result = await table.update(
        keys.quota(period.month),
        { set: { [HOLD + turnId]: to }, add: counters(period, to - from) },
        equals(HOLD + turnId, from),
        ...room('used', limits.tokensPerMonth),
      );
      return result.done;
    },

    async settle(turnId, period, { held, used, fence }) {
      const result = await table.update(
        keys.quota(period.month),
        {
          ...(fence && { set: { [FENCE + turnId]: true } }),
          add: counters(period, used - held),
          remove: [HOLD + turnId],
        },
        equals(HOLD + turnId, held),
      );
      return result.done ? stateOf(result.item, period.day) : null;
    },

    async fence(turnId, { month }) {
      const result = await table.update(keys.quota(month), { set: { [FENCE + turnId]: true } }, absent(HOLD + turnId));
      return result.done;
    },

    async addOnce(name, period, tokens) {
      const changes = { set: { [FENCE + name]: true }, add: counters(period, tokens) };
      await table.update(keys.quota(period.month), changes, absent(FENCE + name));
    },

    async dropFences(month, names) {
      for (let from = 0; from < names.length; from += FENCES_AT_ONCE) {
        const remove = names.slice(from, from + FENCES_AT_ONCE).map((name) => FENCE + name);
        await table.update(keys.quota(month), { remove }, present('PK'));
      }
    },
  };
}
