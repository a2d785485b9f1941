import type { DeliveryLog } from '../alerts/delivery.ts';
import type { UsageAlert } from '../alerts/model.ts';
import type { AlertWatchLog } from '../alerts/watch.ts';
import type { AuditRecorder, RecorderLog } from '../audit/recorder.ts';
import type { SealerLog } from '../audit/sealing.ts';
import type { AuthLog } from '../auth/ports.ts';
import type { FairQueue } from '../conversations/fair-queue.ts';
import type { TurnLog } from '../conversations/generation.ts';
import type { RetentionLog } from '../conversations/retention.ts';
import type { PartnersLog } from '../partners/instance.ts';
import type { ParkedTurn } from '../conversations/ports.ts';
import type { SweepLog } from '../conversations/sweeper.ts';
import { answerId, type PlacedTurn } from '../conversations/turn-end.ts';
import type { RemovalLog } from '../tenants/removing.ts';
import type { UsageCloserLog } from '../usage/closing.ts';
import type { QuotaUpkeepLog } from '../usage/quota-upkeep.ts';
import { turnFailure, type Logger } from './log.ts';
import type { Metrics } from './metrics.ts';

export interface ObservationDependencies {
  readonly log: Logger;
  readonly metrics: Metrics;
}

/** Everything needed to find a turn. */
const placeOf = (turn: PlacedTurn) => ({
  tenantId: turn.tenantId,
  userId: turn.ownerId,
  turnId: turn.id,
  messageId: answerId(turn),
});

/** Everything needed to find an alert; where it goes is in the tenant's settings, and may hold what is nobody else's business. */
const alertOf = ({ tenantId, id, limit, percentage, period, delivery }: UsageAlert) => ({
  ...{ tenantId, alertId: id, limit, percentage, period, attempts: delivery.attempts },
});

/** What the log and the metrics are told of turns and of what is done for them in the background: never the text of a message. */
export function observe({ log, metrics }: ObservationDependencies) {
  const failed = metrics.counter('bedrock_graphql_turns_failed_total', 'Answers that failed, by their error code.', [
    'code',
  ]);
  const left = metrics.counter('bedrock_graphql_turns_left_total', 'Turns whose end could not be stored.');
  const repaired = metrics.counter('bedrock_graphql_repairs_total', 'Turns and deletions repaired.', ['kind']);
  const repairFailed = metrics.counter('bedrock_graphql_repairs_failed_total', 'Repairs that failed.');
  const released = metrics.counter('bedrock_graphql_holds_released_total', 'Holds of tokens that had lost their turn.');

  const tried = metrics.counter('bedrock_graphql_alert_deliveries_total', 'Tries to deliver usage alerts.', [
    'outcome',
  ]);
  const undelivered = metrics.counter(
    'bedrock_graphql_audit_retries_total',
    'Times the audit trail could not be stored.',
  );
  const unspooled = metrics.counter('bedrock_graphql_audit_spool_failures_total', 'Times the audit spool failed.');
  const lost = metrics.counter('bedrock_graphql_audit_lost_total', 'Audit entries that are gone for good.');

  const auth: AuthLog = {
    refreshTokenReused({ home, userId, sessionId, origin }) {
      log.warn({ tenantId: home, userId, sessionId, ...origin }, 'refresh token used twice: its session was ended');
    },
  };
  const issuers = {
    keysNotFetched: (issuer: string, reason: string) =>
      log.warn(
        { issuer, reason },
        'the keys of an issuer were not fetched: tokens of keys that are not known are refused',
      ),
  };
  const turns: TurnLog = {
    turnFailed(turn, error) {
      const failure = turnFailure(error);
      failed({ code: failure.code });
      log.warn({ ...placeOf(turn), ...failure }, 'turn failed');
    },
    turnLeft(turn, err) {
      left();
      log.error({ ...placeOf(turn), err }, 'turn left for repair');
    },
  };
  const sweeps: SweepLog = {
    repaired(work) {
      repaired({ kind: work.kind });
      log.warn({ work }, 'repaired');
    },
    sweepFailed(work, err) {
      repairFailed();
      log.error({ work, err }, 'repair failed');
    },
    parked(work, err) {
      repairFailed();
      log.error({ work, err }, 'turn put aside: `npm run turns:retry` has it tried again');
    },
  };
  const quotas: QuotaUpkeepLog = {
    released(tenantId, turnId, tokens) {
      released();
      log.warn({ tenantId, turnId, tokens }, 'tokens released');
    },
    upkeepFailed: (tenantId, err) => log.error({ tenantId, err }, 'quota upkeep failed'),
  };
  const closings: UsageCloserLog = {
    closingFailed: (work, err) => log.error({ work, err }, 'closing usage failed'),
  };
  const retention: RetentionLog = {
    expired: (tenantId, conversations) => log.info({ tenantId, conversations }, 'retention is over'),
    retentionFailed: (tenantId, err) => log.error({ tenantId, err }, 'retention failed'),
  };
  const alerts: AlertWatchLog & DeliveryLog = {
    recorded: (alert) => log.info(alertOf(alert), 'usage alert'),
    recordingFailed: (tenantId, err) =>
      log.error({ tenantId, err }, 'usage alerts not looked after: the next turn or hour will'),
    delivered(alert) {
      tried({ outcome: 'delivered' });
      log.info(alertOf(alert), 'usage alert delivered');
    },
    deliveryFailed(alert, reason) {
      tried({ outcome: 'failed' });
      log.warn({ ...alertOf(alert), reason }, 'usage alert not delivered');
    },
    alertParked(alert, reason) {
      tried({ outcome: 'failed' });
      log.error({ ...alertOf(alert), reason }, 'usage alert put aside: `npm run alerts:retry` has it tried again');
    },
    roundFailed: (work, err) => log.error({ work, err }, 'delivering usage alerts failed'),
  };
  const partners: PartnersLog = {
    keyUseNotNoted: (err) => log.warn({ err }, 'the use of an API key is not noted: the next one will be'),
    operationUsageNotStored: (err) => log.warn({ err }, 'what API keys did is not stored yet: it is tried again'),
  };
  const trail: RecorderLog = {
    undelivered(entries, err) {
      undelivered();
      log.error({ entries, err }, 'audit entries not stored yet: they wait in the spool');
    },
    spoolFailed(err) {
      unspooled();
      log.error({ err }, 'the audit spool failed: entries wait in memory (AUDIT_SPOOL_DIR)');
    },
    lost(entries, reason) {
      lost({}, entries);
      log.fatal({ entries, reason }, 'AUDIT ENTRIES LOST');
    },
  };
  const seals: SealerLog = {
    sealed: ({ tenantId, day, chains, mac }) => log.info({ tenantId, day, chains, mac }, 'audit day sealed'),
    sealingFailed: (err) => log.error({ err }, 'sealing the audit trail failed'),
  };
  const removals: RemovalLog = {
    removed: ({ tenantId, rowsRemoved, doneAt }) => log.info({ tenantId, rowsRemoved, doneAt }, 'tenant removed'),
    removalFailed: (tenantId, err) => log.error({ tenantId, err }, 'removing a tenant failed: it is tried again'),
  };
  return { auth, issuers, turns, sweeps, quotas, closings, retention, alerts, partners, trail, seals, removals };
}

/** Gauges of the turns, read at every scrape. */
export function gaugeTurns(
  metrics: Metrics,
  queue: FairQueue,
  due: { readonly parked: () => Promise<readonly ParkedTurn[]> },
) {
  metrics.gauge({
    name: 'bedrock_graphql_turns_running',
    help: 'Answers being generated in this instance.',
    read: () => queue.running(),
  });
  metrics.gauge({
    name: 'bedrock_graphql_turns_waiting',
    help: 'Answers waiting for their turn in this instance.',
    read: () => queue.waiting(),
  });
  metrics.gauge({
    name: 'bedrock_graphql_turns_parked',
    help: 'Turns of the installation that were put aside because their repair failed again and again.',
    read: async () => (await due.parked()).length,
  });
}

/** A gauge of the alerts that could not be delivered, read at every scrape. */
export const gaugeAlerts = (metrics: Metrics, due: { readonly parked: () => Promise<readonly unknown[]> }) =>
  metrics.gauge({
    name: 'bedrock_graphql_alerts_parked',
    help: 'Usage alerts of the installation that were put aside because their delivery failed again and again.',
    read: async () => (await due.parked()).length,
  });

/** What of the audit trail is not stored yet. */
export const gaugeAudit = (metrics: Metrics, recorder: Pick<AuditRecorder, 'waiting'>) =>
  metrics.gauge({
    name: 'bedrock_graphql_audit_waiting_bytes',
    help: 'Audit entries of this instance that wait to be stored.',
    read: () => recorder.waiting(),
  });

/** Whether Redis is there, as this instance sees it. */
export const gaugeRedis = (metrics: Metrics, redis: { readonly ready: () => boolean }) =>
  metrics.gauge({
    name: 'bedrock_graphql_redis_up',
    help: '1 while Redis is there, 0 while it is away.',
    read: () => (redis.ready() ? 1 : 0),
  });
