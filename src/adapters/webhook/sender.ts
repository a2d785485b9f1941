import { lookup as systemLookup } from 'node:dns/promises';
import { Agent as HttpAgent, request as httpRequest } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { isIP, type LookupFunction } from 'node:net';
import type { WebhookMessage, WebhookSender } from '../../alerts/ports.ts';
import type { Clock } from '../../kernel/clock.ts';
import { isLoopback, isPublic } from './addresses.ts';

/** From the look-up of the name to the head of the answer. */
export const SEND_TIMEOUT_MS = 10_000;
const ANSWER_HEAD_BYTES_MAX = 16_384;
const HTTPS_PORT = 443;
const UNPRIVILEGED_PORT_MIN = 1_024;

const NOT_PUBLIC = 'The host has no address on the public internet.';
const TOO_SLOW = `The receiver did not answer within ${SEND_TIMEOUT_MS / 1_000} s.`;

export interface WebhookSenderOptions {
  /** Also to this machine itself, and there without TLS: for trying it out. */
  readonly loopback: boolean;
  readonly clock: Clock;
  /** Every address of a host. Left out: as the system has it. */
  readonly resolve?: (host: string) => Promise<readonly string[]>;
  /** Certificates to trust, in PEM. Left out: those of Node. */
  readonly ca?: string;
}

const bySystem = async (host: string): Promise<readonly string[]> =>
  (await systemLookup(host, { all: true })).map(({ address }) => address);

/** A failure whose message may be shown to the tenant. */
class SendError extends Error {}

/** An IPv6 address stands in brackets in a URL. */
const hostOf = ({ hostname }: URL): string => hostname.replace(/^\[(.*)\]$/, '$1');

/** A look-up that knows only these addresses: whatever the name says by now, the connection goes to one that was checked. */
const pinnedTo =
  (addresses: readonly string[]): LookupFunction =>
  (_host, { all }, callback) => {
    const entries = addresses.map((address) => ({ address, family: isIP(address) }));
    const [first] = entries;
    if (all || !first) return callback(null, entries);
    callback(null, first.address, first.family);
  };

/** Sends webhooks: each name is looked up once, every address it has is checked, and the connection is made to what was checked. */
export function createWebhookSender({ loopback, clock, resolve = bySystem, ca }: WebhookSenderOptions): WebhookSender {
  const allowed = (address: string) => isPublic(address) || (loopback && isLoopback(address));

  async function checkedAddresses(url: URL): Promise<readonly string[]> {
    const host = hostOf(url);
    // Why a name leads nowhere is not told apart: that would say what names there are inside this network.
    const addresses = isIP(host) ? [host] : await resolve(host).catch(() => []);
    const plain = url.protocol === 'http:';
    const fit = addresses.every((address) => (plain ? isLoopback(address) : true) && allowed(address));
    if (addresses.length === 0 || !fit) throw new SendError(NOT_PUBLIC);
    return addresses;
  }

  /** The status of the answer. Its body is never read, and a redirect is an answer like any other. */
  async function post({ url: address, headers, body }: WebhookMessage, signal: AbortSignal): Promise<number> {
    const url = new URL(address);
    const addresses = await checkedAddresses(url);
    signal.throwIfAborted();
    const common = {
      ...{ method: 'POST', headers: { ...headers, 'content-length': Buffer.byteLength(body) }, signal },
      ...{ lookup: pinnedTo(addresses), maxHeaderSize: ANSWER_HEAD_BYTES_MAX },
    };
    // An agent of its own: no connection is used twice, and no proxy of the environment comes between.
    const request =
      url.protocol === 'https:'
        ? httpsRequest(url, { ...common, agent: new HttpsAgent({ keepAlive: false }), ...(ca !== undefined && { ca }) })
        : httpRequest(url, { ...common, agent: new HttpAgent({ keepAlive: false }) });
    return new Promise((answered, failed) => {
      request.on('error', failed);
      request.on('response', (response) => {
        response.destroy();
        answered(response.statusCode ?? 0);
      });
      request.end(body);
    });
  }

  function reasonOf(error: unknown, timedOut: boolean): string {
    if (timedOut) return TOO_SLOW;
    if (error instanceof SendError) return error.message;
    const { code } = error as NodeJS.ErrnoException;
    return `The connection failed${code !== undefined && /^\w+$/.test(code) ? ` (${code})` : ''}.`;
  }

  return {
    fault(url) {
      const host = hostOf(url);
      const here = loopback && (host === 'localhost' || isLoopback(host));
      if (url.protocol !== 'https:' && !(here && url.protocol === 'http:')) return 'The URL must begin with https://.';
      if (url.username !== '' || url.password !== '') return 'The URL must not hold a user name or a password.';
      if (url.hash !== '') return 'The URL must not hold a fragment.';
      const port = url.port === '' ? HTTPS_PORT : Number(url.port);
      if (port !== HTTPS_PORT && port < UNPRIVILEGED_PORT_MIN) return 'The port must be 443, or 1024 and above.';
      if (isIP(host) && !allowed(host)) return NOT_PUBLIC;
      return null;
    },

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
        return reasonOf(error, deadline.signal.aborted);
      } finally {
        cancel();
      }
    },
  };
}
