import { DAY_MS, HOUR_MS, periodEnd, periodStart } from './periods.ts';
import type { UsageRetention } from './ports.ts';

/** For how many days usage is kept, from the end of its hour or day. */
export interface RetentionDays {
  /** The events of turns, late tokens included. */
  readonly turns: number;
  readonly signIns: number;
  /** The sums of hours. */
  readonly hours: number;
  /** The sums of days. */
  readonly days: number;
}

export const createUsageRetention = ({ turns, signIns, hours, days }: RetentionDays): UsageRetention => ({
  eventUntil: (kind, hour) => periodEnd('HOUR', hour) + DAY_MS * (kind === 'SIGN_IN' ? signIns : turns),
  sumsUntil: (kind, name) => periodEnd(kind, name) + DAY_MS * (kind === 'HOUR' ? hours : days),
  closableUntil: (kind, name) =>
    kind === 'HOUR'
      ? periodEnd('HOUR', name) + DAY_MS * Math.min(turns, signIns)
      : periodStart(name) + HOUR_MS + DAY_MS * hours, // when its first hour goes
});
