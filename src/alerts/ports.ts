import type { Page, PageRequest } from '../kernel/page.ts';
import type { TenantId } from '../tenancy/tenant-id.ts';
import type { UsageAlert, Webhook } from './model.ts';

/** What became of a try to deliver an alert, or of the alert when there is nobody to deliver it to. Times are in milliseconds. */
export type DeliveryResult =
  | { readonly state: 'DELIVERED'; readonly at: number }
  | { readonly state: 'NONE' }
  | { readonly state: 'PENDING'; readonly nextAttemptAt: number; readonly error: string }
  | { readonly state: 'PARKED'; readonly at: number; readonly error: string };

/** The alerts of one tenant. */
export interface AlertStore {
  /** Records an alert, to be delivered at once if it is PENDING. False when it was recorded before: nothing is changed then. */
  record(alert: UsageAlert): Promise<boolean>;
  /** Newest first. */
  list(page: PageRequest): Promise<Page<UsageAlert>>;
  /**
   * Takes a due alert up for one try, and counts it. Of several who try one gets it; the others, and everybody up to
   * `leaseUntil`, get null.
   */
  claim(name: string, now: number, leaseUntil: number): Promise<UsageAlert | null>;
  /** Stores what became of the try that a claim began; of one that was taken over meanwhile, nothing. */
  close(claimed: UsageAlert, result: DeliveryResult): Promise<void>;
  /** Has a parked alert tried again, with all of its tries. False when it is not parked. */
  unpark(name: string, now: number): Promise<boolean>;
}

/** The webhook of one tenant. */
export interface WebhookStore {
  get(): Promise<Webhook | null>;
  /** Null removes it. */
  set(webhook: Webhook | null): Promise<void>;
}

/** The percentages a tenant has set for itself; null: it keeps to those of the installation. */
export interface PercentageStore {
  get(): Promise<readonly number[] | null>;
  set(percentages: readonly number[] | null): Promise<void>;
}

export interface AlertWork {
  readonly tenantId: TenantId;
  readonly name: string;
}

/** Alerts of any tenant that are to be delivered. Known to background work only. */
export interface DueAlerts {
  due(now: number): Promise<readonly AlertWork[]>;
  parked(): Promise<readonly (AlertWork & { readonly parkedAt: string })[]>;
}

/** A message to a receiver of webhooks. */
export interface WebhookMessage {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** Null: the receiver took it. Otherwise why it did not, as may be shown to the tenant. */
export type SendFailure = string | null;

/** The way to receivers, who may be anywhere and anybody. */
export interface WebhookSender {
  /** Why nothing is ever sent to this address, as may be shown to the tenant; null when it may be. It looks nothing up. */
  fault(url: URL): string | null;
  /** Sends a message once. It never throws, and takes bounded time and memory whatever the receiver does. */
  send(message: WebhookMessage, stopping?: AbortSignal): Promise<SendFailure>;
}
