import { createAlertDelivery } from '../../src/alerts/delivery.ts';
import type { UsageAlert } from '../../src/alerts/model.ts';
import type { SendFailure, WebhookMessage } from '../../src/alerts/ports.ts';
import { createSecretSeal, newSigningSecret } from '../../src/alerts/signing-secret.ts';
import { createAlertWatch, type AlertTerms } from '../../src/alerts/watch.ts';
import { isoTime } from '../../src/kernel/clock.ts';
import { ulid } from '../../src/kernel/ids.ts';
import type { TenantId } from '../../src/tenancy/tenant-id.ts';
import { createTokenQuota, useAt } from '../../src/usage/quota.ts';
import { createTestClock } from './clock.ts';
import type { Storage } from './dynamodb-storage.ts';

export const HELD = 100;
const PAGE = { direction: 'forward', size: 100, cursor: null } as const;

/** Nobody ever alerted, unless a test says so. */
const NO_LIMITS: AlertTerms = { limits: { tokensPerDay: null, tokensPerMonth: null } };

export type AlertBench = ReturnType<typeof openAlertBench>;

/** One tenant with these limits on real stores and a test clock; its turns, its alerts, and instances that look after them. */
export function openAlertBench(storage: Storage, terms: AlertTerms = NO_LIMITS, start = '2026-11-20T12:00:00.000Z') {
  const clock = createTestClock(Date.parse(start));
  const tenantId: TenantId = storage.tenant();
  const seal = createSecretSeal('a secret of the tests, long enough for it');
  const direct = storage.connect({ clock }).forTenant(tenantId);

  /** A server process. `send` is its way to receivers; left out, they all take what they are sent. */
  function instance(send: (message: WebhookMessage) => SendFailure | Promise<SendFailure> = () => null) {
    const requests: string[] = [];
    const db = storage.connect({
      clock,
      onRequest: ({ operation, phase }) => phase === 'sent' && requests.push(operation),
    });
    const stores = db.forTenant(tenantId);
    const sent: WebhookMessage[] = [];
    const said: string[] = [];
    const faults: unknown[] = [];
    const begun = Promise.withResolvers<void>();
    let told = Promise.withResolvers<void>();
    const say = (text: string) => {
      said.push(text);
      told.resolve();
      told = Promise.withResolvers();
    };
    const nameOf = ({ limit, percentage }: UsageAlert) => `${limit} ${percentage}`;
    const fault = (error: unknown) => {
      faults.push(error);
      say('fault');
    };
    const watch = createAlertWatch({
      percentages: [80, 100],
      storesOf: () => stores,
      // eslint-disable-next-line @typescript-eslint/require-await
      tenants: async function* () {
        yield tenantId;
      },
      termsOf: () => Promise.resolve(terms),
      useAt: (_tenantId, ms) => useAt(stores.quota, ms),
      clock,
      log: {
        recorded: (alert) => say(`recorded ${nameOf(alert)}`),
        recordingFailed: (_tenantId, error) => fault(error),
      },
    });
    const delivery = createAlertDelivery({
      due: { due: async (now) => (await db.dueAlerts.due(now)).filter((work) => work.tenantId === tenantId) },
      storesOf: () => stores,
      sender: {
        send: async (message) => {
          sent.push(message);
          begun.resolve();
          return send(message);
        },
      },
      seal,
      clock,
      random: () => 0,
      log: {
        delivered: (alert) => say(`delivered ${nameOf(alert)}`),
        deliveryFailed: (alert, reason) => say(`failed ${nameOf(alert)}: ${reason}`),
        alertParked: (alert) => say(`parked ${nameOf(alert)}`),
        roundFailed: (_work, error) => fault(error),
      },
    });
    const quotaWith = (settled?: Parameters<typeof createTokenQuota>[0]['settled']) =>
      createTokenQuota({
        ...{ store: stores.quota, limits: terms.limits, reserveTokens: HELD, changed: () => undefined },
        ...(settled && { settled }),
      });
    const quota = quotaWith((use) => watch.settled(tenantId, use, terms));
    return {
      stores,
      watch,
      delivery,
      quota,
      sent,
      /** Resolves when the first message is being sent. */
      begun: begun.promise,
      said,
      faults,
      requests,
      /** Waits for so many lines of its log. */
      async heard(lines: number) {
        while (said.length < lines) await told.promise;
        return said;
      },
      /** A turn that uses so many tokens. */
      async turn(tokens: number, { crash = false } = {}) {
        const turnId = ulid(clock.now());
        await quota.reserve(turnId);
        // A crash: the tokens are settled, and nobody is told.
        await (crash ? quotaWith() : quota).settle(turnId, tokens);
      },
    };
  }

  return {
    clock,
    tenantId,
    seal,
    direct,
    instance,
    alerts: async () => (await direct.alerts.list(PAGE)).nodes,
    parked: async () =>
      (await storage.connect({ clock }).dueAlerts.parked()).filter((work) => work.tenantId === tenantId),
    /** Sets a webhook, and returns its secret. */
    async setWebhook(url = 'https://hooks.example/usage') {
      const secret = newSigningSecret();
      await direct.webhook.set({ url, sealedSecret: seal.seal(tenantId, secret), setAt: isoTime(clock.now()) });
      return secret;
    },
  };
}
