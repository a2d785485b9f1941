import type { WebhookMessage, WebhookSender } from '../../alerts/ports.ts';
import type { Clock } from '../../kernel/clock.ts';
import { createOutbound, type OutboundOptions } from '../outbound/request.ts';

/** From the look-up of the name to the head of the answer. */
export const SEND_TIMEOUT_MS = 10_000;

const TOO_SLOW = `The receiver did not answer within ${SEND_TIMEOUT_MS / 1_000} s.`;

export interface WebhookSenderOptions extends OutboundOptions {
  readonly clock: Clock;
}

/** Sends webhooks to public addresses. */
export function createWebhookSender({ clock, ...options }: WebhookSenderOptions): WebhookSender {
  const outbound = createOutbound(options);

  /** The status of the answer. Its body is never read. */
  async function post({ url, headers, body }: WebhookMessage, signal: AbortSignal): Promise<number> {
    const length = { 'content-length': Buffer.byteLength(body) };
    const request = { method: 'POST', headers: { ...headers, ...length }, body } as const;
    const response = await outbound.send(new URL(url), request, signal);
    response.destroy();
    return response.statusCode ?? 0;
  }

  return {
    fault: (url) => outbound.fault(url),

    async send(message, stopping) {
      const deadline = new AbortController();
      const late = Promise.withResolvers<never>();
      const cancel = clock.after(SEND_TIMEOUT_MS, () => deadline.abort());
      const signal = stopping ? AbortSignal.any([deadline.signal, stopping]) : deadline.signal;
      signal.addEventListener('abort', () => late.reject(signal.reason as Error));
      try {
        // Against the clock as a whole, because a look-up cannot be broken off.
        const status = await Promise.race([post(message, signal), late.promise]);
        return status >= 200 && status < 300 ? null : `The receiver answered ${status}.`;
      } catch (error) {
        return deadline.signal.aborted ? TOO_SLOW : outbound.reasonOf(error);
      } finally {
        cancel();
      }
    },
  };
}
