import { isoTime } from '../kernel/clock.ts';
import { badInput } from '../kernel/errors.ts';
import { ulidTime } from '../kernel/ids.ts';
import type { TenantId } from '../tenancy/tenant-id.ts';
import type {
  LateTokensEvent,
  ModelTokens,
  SignInEvent,
  TurnEvent,
  UsageEvent,
  UsagePoint,
  UsageSummary,
  UserUsage,
} from './model.ts';
import { checkPeriod } from './periods.ts';
import type { UsageStore } from './ports.ts';
import type { PriceTable } from './prices.ts';
import { readTallies } from './reading.ts';
import { checkFilter, pointsOf, seriesBorders, type SeriesBucket, type SeriesFilter } from './series.ts';
import { summaryOf, tokenTotals, userRows } from './summary.ts';
import { emptyTally } from './tally.ts';

export const USERS_SHOWN_MAX = 1_000;

/** An event before it is known what it cost. */
type Unpriced<E extends { readonly models: readonly ModelTokens[] }> = Omit<E, 'models' | 'priceVersion'> & {
  readonly models: readonly Omit<ModelTokens, 'nanoUsd'>[];
};

export interface SeriesRequest {
  readonly start: Date;
  readonly end: Date;
  readonly bucket: SeriesBucket;
  /** An IANA time zone, e.g. `Europe/Berlin`. */
  readonly timeZone: string;
  readonly filter?: SeriesFilter | null | undefined;
}

/** The usage of one tenant. */
export interface UsageService {
  /** Records a turn. Recording it again changes nothing. */
  recordTurn(turn: Unpriced<TurnEvent>): Promise<void>;
  /** What was recorded of a turn; null where nothing was, or it is kept no more. */
  recorded(turnId: string): Promise<TurnEvent | null>;
  recordLateTokens(late: Unpriced<LateTokensEvent>): Promise<void>;
  recordSignIn(signIn: SignInEvent): Promise<void>;
  /** What was used in [start, end), to the millisecond. @throws BAD_USER_INPUT for an empty period, or one over 400 days. */
  summary(start: Date, end: Date): Promise<UsageSummary>;
  /**
   * The usage of [start, end) by hours or days of a time zone, of all or of one agent, model or user.
   * @throws BAD_USER_INPUT as for `summary`, for a zone that is none, a filter of two names, or more than 1,000 points.
   */
  series(request: SeriesRequest): Promise<readonly UsagePoint[]>;
  /** What one user used in [start, end). @throws BAD_USER_INPUT as for `summary`. */
  ofUser(userId: string, start: Date, end: Date): Promise<UserUsage>;
  /** The users of a summary who used most. @throws BAD_USER_INPUT unless `first` is 1 to 1,000. */
  topUsers(summary: UsageSummary, first: number): Promise<readonly UserUsage[]>;
}

export interface UsageServiceDependencies {
  readonly tenantId: TenantId;
  readonly store: UsageStore;
  readonly prices: PriceTable;
  /** Told when the tenant's counters have changed. */
  readonly changed: () => void;
}

/** Reads once, when it is first asked for. */
function once<T>(read: () => Promise<T>): () => Promise<T> {
  let reading: Promise<T> | null = null;
  return () => (reading ??= read());
}

export function createUsageService({ tenantId, store, prices, changed }: UsageServiceDependencies): UsageService {
  const priced = <E extends { readonly turnId: string; readonly models: readonly Omit<ModelTokens, 'nanoUsd'>[] }>(
    event: E,
  ) => ({
    ...event,
    models: event.models.map((use) => prices.price(use, ulidTime(event.turnId))),
    priceVersion: prices.version,
  });

  async function record(event: UsageEvent) {
    await store.record(event);
    changed();
  }

  return {
    recordTurn: (turn) => record({ kind: 'TURN', ...priced(turn) }),
    recorded: (turnId) => store.turn(turnId),
    recordLateTokens: (late) => record({ kind: 'LATE_TOKENS', ...priced(late) }),
    recordSignIn: (signIn) => store.record({ kind: 'SIGN_IN', ...signIn }),

    async summary(start, end) {
      checkPeriod(start, end);
      const span = { start: start.getTime(), end: end.getTime() };
      const reading = await readTallies(store, [span.start, span.end]);
      const [tally = emptyTally()] = reading.tallies;
      const users = once(async () => (await reading.withUsers()).flatMap((each) => userRows(tenantId, each.users)));
      const period = { tenantId, start: isoTime(span.start), end: isoTime(span.end) };
      return summaryOf(period, tally, users);
    },

    async series({ start, end, bucket, timeZone, filter }) {
      checkPeriod(start, end);
      const only = checkFilter(filter);
      const borders = seriesBorders({ start, end }, bucket, timeZone);
      const reading = await readTallies(store, borders);
      const tallies = only.userId == null ? reading.tallies : await reading.withUsers(only.userId);
      return pointsOf(tenantId, borders, tallies, only);
    },

    async ofUser(userId, start, end) {
      checkPeriod(start, end);
      const [tally] = await (await readTallies(store, [start.getTime(), end.getTime()])).withUsers(userId);
      const { turns, ...tokens } = tally?.users[userId] ?? { turns: 0, input: 0, output: 0 };
      return { tenantId, userId, turns, tokens: tokenTotals(tokens) };
    },

    async topUsers({ users }, first) {
      if (first < 1 || first > USERS_SHOWN_MAX) throw badInput(`\`first\` is 1 to ${USERS_SHOWN_MAX}.`, 'first');
      return (await users()).slice(0, first);
    },
  };
}
