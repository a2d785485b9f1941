import { isoTime, type Clock } from '../kernel/clock.ts';
import { badInput } from '../kernel/errors.ts';
import { pageRequest, type Page, type PageArguments } from '../kernel/page.ts';
import type { TenantId } from '../tenancy/tenant-id.ts';
import type { AlertSettings, UsageAlert, Webhook } from './model.ts';
import type { AlertStore, PercentageStore, WebhookSender, WebhookStore } from './ports.ts';
import { newSigningSecret, type SecretSeal } from './signing-secret.ts';

export const PERCENTAGES_MAX = 10;
export const URL_CHARACTERS_MAX = 2_048;

/** The usage alerts of one tenant, and how it is told of them. */
export interface AlertService {
  /** Newest first. @throws BAD_USER_INPUT for paging arguments that are wrong. */
  list(page: Pick<PageArguments, 'first' | 'after'>): Promise<Page<UsageAlert>>;
  settings(): Promise<AlertSettings>;
  /** Null: the installation's. @throws BAD_USER_INPUT unless they are 1 to 10 different whole numbers from 1 to 100. */
  setPercentages(percentages: readonly number[] | null): Promise<AlertSettings>;
  /**
   * Sets the webhook, with a new secret: shown here and never again. Null removes it.
   * @throws BAD_USER_INPUT for an address that nothing is ever sent to.
   */
  setWebhook(url: string | null): Promise<{ readonly settings: AlertSettings; readonly secret: string | null }>;
}

export interface AlertServiceDependencies {
  readonly tenantId: TenantId;
  readonly alerts: AlertStore;
  readonly webhook: WebhookStore;
  readonly percentages: PercentageStore;
  /** The percentages of tenants that have set none of their own. */
  readonly percentagesByDefault: readonly number[];
  readonly sender: Pick<WebhookSender, 'fault'>;
  readonly seal: Pick<SecretSeal, 'seal'>;
  readonly clock: Clock;
}

function checkPercentages(percentages: readonly number[]): readonly number[] {
  const ascending = [...new Set(percentages)].sort((one, other) => one - other);
  const outside = ascending.some((share) => share < 1 || share > 100);
  if (
    outside ||
    ascending.length === 0 ||
    ascending.length > PERCENTAGES_MAX ||
    ascending.length < percentages.length
  ) {
    throw badInput(`Give 1 to ${PERCENTAGES_MAX} different whole numbers from 1 to 100.`, 'percentages');
  }
  return ascending;
}

export function createAlertService(deps: AlertServiceDependencies): AlertService {
  const { tenantId, alerts, webhook, percentages, percentagesByDefault, sender, seal, clock } = deps;

  function checkUrl(text: string): string {
    const url = text.length <= URL_CHARACTERS_MAX && URL.canParse(text) ? new URL(text) : null;
    const fault = url === null ? 'That is no URL.' : sender.fault(url);
    if (url === null || fault !== null) throw badInput(fault ?? '', 'url');
    return url.href;
  }

  const settingsOf = (own: readonly number[] | null, to: Webhook | null): AlertSettings => ({
    tenantId,
    percentages: own ?? percentagesByDefault,
    webhookUrl: to?.url ?? null,
    webhookSetAt: to?.setAt ?? null,
  });

  return {
    list: (page) => alerts.list(pageRequest(page)),

    settings: async () => settingsOf(...(await Promise.all([percentages.get(), webhook.get()]))),

    async setPercentages(given) {
      const own = given && checkPercentages(given);
      await percentages.set(own);
      return settingsOf(own, await webhook.get());
    },

    async setWebhook(address) {
      const secret = address === null ? null : newSigningSecret();
      const to =
        address === null || secret === null
          ? null
          : { url: checkUrl(address), sealedSecret: seal.seal(tenantId, secret), setAt: isoTime(clock.now()) };
      await webhook.set(to);
      return { settings: settingsOf(await percentages.get(), to), secret };
    },
  };
}
