import { isoTime, type Clock } from '../kernel/clock.ts';
import { badInput } from '../kernel/errors.ts';
import { ulid } from '../kernel/ids.ts';
import type { TenantId } from '../tenancy/tenant-id.ts';
import type { LateTokensEvent, TurnEvent, UsageSummary, UserUsage } from './model.ts';
import type { UsageStore } from './ports.ts';
import { createSummary } from './summary.ts';

const DAY_MS = 24 * 60 * 60 * 1000;
export const PERIOD_DAYS_MAX = 400;
export const USERS_SHOWN_MAX = 1_000;

/** The usage of one tenant. */
export interface UsageService {
  /** Records a turn. Recording it again changes nothing. */
  recordTurn(turn: TurnEvent): Promise<void>;
  recordLateTokens(late: LateTokensEvent): Promise<void>;
  recordSignIn(userId: string, latencyMs: number): Promise<void>;
  /** What was used in [start, end), to the millisecond. @throws BAD_USER_INPUT for an empty period, or one over 400 days. */
  summary(start: Date, end: Date): Promise<UsageSummary>;
  /** The users of a summary who used most. @throws BAD_USER_INPUT unless `first` is 1 to 1,000. */
  topUsers(summary: UsageSummary, first: number): readonly UserUsage[];
}

export interface UsageServiceDependencies {
  readonly tenantId: TenantId;
  readonly store: UsageStore;
  readonly clock: Clock;
}

export function createUsageService({ tenantId, store, clock }: UsageServiceDependencies): UsageService {
  return {
    recordTurn: (turn) => store.record({ kind: 'TURN', ...turn }),
    recordLateTokens: (late) => store.record({ kind: 'LATE_TOKENS', ...late }),
    recordSignIn: (userId, latencyMs) => store.record({ kind: 'SIGN_IN', id: ulid(clock.now()), userId, latencyMs }),

    async summary(start, end) {
      if (end <= start) throw badInput('`end` must be later than `start`.', 'end');
      if (end.getTime() - start.getTime() > PERIOD_DAYS_MAX * DAY_MS) {
        throw badInput(`A period is at most ${PERIOD_DAYS_MAX} days long.`, 'end');
      }
      const summary = createSummary({ tenantId, start: isoTime(start.getTime()), end: isoTime(end.getTime()) });
      for await (const event of store.events(start.getTime(), end.getTime())) summary.take(event);
      return summary.total();
    },

    topUsers({ users }, first) {
      if (first < 1 || first > USERS_SHOWN_MAX) throw badInput(`\`first\` is 1 to ${USERS_SHOWN_MAX}.`, 'first');
      return users.slice(0, first);
    },
  };
}
