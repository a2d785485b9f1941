import type { Clock } from '../kernel/clock.ts';
import { repeat } from '../kernel/repeating.ts';
import type { TenantId } from '../tenancy/tenant-id.ts';
import { messageOf } from './message.ts';
import type { UsageAlert, Webhook } from './model.ts';
import type {
  AlertStore,
  AlertWork,
  DeliveryResult,
  DueAlerts,
  SendFailure,
  WebhookSender,
  WebhookStore,
} from './ports.ts';
import type { SecretSeal } from './signing-secret.ts';

const SECOND_MS = 1_000;
const MINUTE_MS = 60 * SECOND_MS;
const HOUR_MS = 60 * MINUTE_MS;

/** How often each instance looks for alerts to deliver. */
const LOOK_EVERY_MS = 10 * SECOND_MS;
/** Whoever has taken an alert up has this long; after that it is tried again, by anybody. A try itself takes no longer than 10 s. */
export const LEASE_MS = MINUTE_MS;
/** How long after each failed try the next one comes: the schedule that Standard Webhooks suggests. After the last, it is put aside. */
export const RETRY_AFTER_MS: readonly number[] = [
  ...[5 * SECOND_MS, 5 * MINUTE_MS, 30 * MINUTE_MS],
  ...[2 * HOUR_MS, 5 * HOUR_MS, 10 * HOUR_MS, 10 * HOUR_MS],
];
/** A pause is up to this much longer, so that those who failed together do not come back together. */
const JITTER = 0.2;
/** A receiver that is slow must not hold up those of other tenants. */
const AT_ONCE = 10;

const SECRET_LOST = 'The signing secret cannot be read any more: set the webhook again.';

export interface DeliveryLog {
  delivered(alert: UsageAlert): void;
  /** A try failed; there will be another. */
  deliveryFailed(alert: UsageAlert, reason: string): void;
  /** The last try failed. */
  alertParked(alert: UsageAlert, reason: string): void;
  /** A round failed (null), or one alert could not be read or written: it is tried again. */
  roundFailed(work: AlertWork | null, error: unknown): void;
}

export interface DeliveryDependencies {
  readonly due: Pick<DueAlerts, 'due'>;
  readonly storesOf: (tenantId: TenantId) => { readonly alerts: AlertStore; readonly webhook: WebhookStore };
  readonly sender: Pick<WebhookSender, 'send'>;
  readonly seal: Pick<SecretSeal, 'open'>;
  readonly clock: Clock;
  /** A number from 0 to below 1. */
  readonly random: () => number;
  readonly log: DeliveryLog;
}

/**
 * Delivers alerts to their tenants' webhooks. An alert is claimed by a lease before it is sent, so of several instances one sends it; a
 * crash in between has it sent again, under the same id: a receiver that drops ids it has seen gets each alert once.
 */
export function createAlertDelivery({ due, storesOf, sender, seal, clock, random, log }: DeliveryDependencies) {
  async function send(alert: UsageAlert, webhook: Webhook, stopping?: AbortSignal): Promise<SendFailure> {
    const secret = seal.open(alert.tenantId, webhook.sealedSecret);
    if (secret === null) return SECRET_LOST;
    return sender.send(messageOf(alert, { url: webhook.url, secret }, clock.now()), stopping);
  }

  function resultOf({ delivery }: UsageAlert, failure: SendFailure): DeliveryResult {
    if (failure === null) return { state: 'DELIVERED', at: clock.now() };
    const pause = RETRY_AFTER_MS[delivery.attempts - 1];
    if (pause === undefined) return { state: 'PARKED', at: clock.now(), error: failure };
    return {
      state: 'PENDING',
      nextAttemptAt: clock.now() + Math.round(pause * (1 + JITTER * random())),
      error: failure,
    };
  }

  async function deliver({ tenantId, name }: AlertWork, stopping?: AbortSignal) {
    const { alerts, webhook } = storesOf(tenantId);
    const alert = await alerts.claim(name, clock.now(), clock.now() + LEASE_MS);
    if (alert === null) return;
    const to = await webhook.get();
    if (to === null) return alerts.close(alert, { state: 'NONE' }); // it was removed meanwhile
    const failure = await send(alert, to, stopping);
    if (failure !== null && stopping?.aborted) return; // it was us who broke it off: the lease runs out, and it is tried again
    const result = resultOf(alert, failure);
    await alerts.close(alert, result);
    if (result.state === 'PARKED') log.alertParked(alert, result.error);
    else if (result.state === 'PENDING') log.deliveryFailed(alert, result.error);
    else log.delivered(alert);
  }

  /** Tries everything that is due now. */
  async function round(stopping?: AbortSignal): Promise<void> {
    const found = (await due.due(clock.now())).values();
    async function workOff() {
      for (const work of found) {
        if (stopping?.aborted) return;
        await deliver(work, stopping).catch((error: unknown) => log.roundFailed(work, error));
      }
    }
    await Promise.all(Array.from({ length: AT_ONCE }, workOff));
  }

  return {
    round,
    start: () =>
      repeat({ clock, everyMs: LOOK_EVERY_MS, task: round, failed: (error) => log.roundFailed(null, error) }),
  };
}
