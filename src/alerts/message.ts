import { createHmac } from 'node:crypto';
import type { UsageAlert } from './model.ts';
import type { WebhookMessage } from './ports.ts';
import { signingKey } from './signing-secret.ts';

export const EVENT_TYPE = 'usage.threshold_reached';

/** What a receiver is told: always the same text for the same alert. */
const bodyOf = ({ tenantId, id, limit, percentage, period, limitTokens, usedTokens, at }: UsageAlert): string =>
  JSON.stringify({
    type: EVENT_TYPE,
    timestamp: at,
    data: { id, tenant: tenantId, limit, percentage, period, limitTokens, usedTokens },
  });

/**
 * An alert as it goes out, signed by the Standard Webhooks specification 1.0.0 (https://www.standardwebhooks.com): HMAC-SHA-256 over
 * `<webhook-id>.<webhook-timestamp>.<body>`. The id is the same at every try, the timestamp is that of the try.
 */
export function messageOf(
  alert: UsageAlert,
  { url, secret }: { url: string; secret: string },
  nowMs: number,
): WebhookMessage {
  const body = bodyOf(alert);
  const timestamp = String(Math.floor(nowMs / 1000));
  const signature = createHmac('sha256', signingKey(secret))
    .update(`${alert.id}.${timestamp}.${body}`)
    .digest('base64');
  return {
    url,
    body,
    headers: {
      'content-type': 'application/json',
      'user-agent': 'bedrock-graphql',
      'webhook-id': alert.id,
      'webhook-timestamp': timestamp,
      'webhook-signature': `v1,${signature}`,
    },
  };
}
