import { lookup as systemLookup } from 'node:dns/promises';
import { Agent as HttpAgent, request as httpRequest, type IncomingMessage } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { isIP, type LookupFunction } from 'node:net';
import { isLoopback, isPublic } from './addresses.ts';

const ANSWER_HEAD_BYTES_MAX = 16_384;
const HTTP_PORT = 80;
const HTTPS_PORT = 443;
const UNPRIVILEGED_PORT_MIN = 1_024;

const NOT_PUBLIC = 'The host has no address on the public internet.';

export interface OutboundOptions {
  /** Also to this machine itself, and there without TLS: for trying it out. */
  readonly loopback: boolean;
  /** Every address of a host. Left out: as the system has it. */
  readonly resolve?: (host: string) => Promise<readonly string[]>;
  /** Certificates to trust, in PEM. Left out: those of Node. */
  readonly ca?: string;
}

export interface OutboundRequest {
  readonly method: 'GET' | 'POST';
  readonly headers: Readonly<Record<string, string | number>>;
  readonly body?: string;
}

/** Requests to addresses that somebody else has chosen. */
export interface Outbound {
  /** Why nothing is sent to this URL, as far as that is known without looking its name up; null: it may be. */
  fault(url: URL): string | null;
  /** The head of the answer; a redirect is an answer like any other. Whoever asks reads the body, or destroys it. */
  send(url: URL, request: OutboundRequest, signal: AbortSignal): Promise<IncomingMessage>;
  /** Why a request failed, in words that may be shown to whoever chose the address. */
  reasonOf(error: unknown): string;
}

/** A failure whose message may be shown. */
export class OutboundError extends Error {}

const bySystem = async (host: string): Promise<readonly string[]> =>
  (await systemLookup(host, { all: true })).map(({ address }) => address);

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

/** Each name is looked up once, every address it has is checked, and the connection is made to what was checked. */
export function createOutbound({ loopback, resolve = bySystem, ca }: OutboundOptions): Outbound {
  const allowed = (address: string) => isPublic(address) || (loopback && isLoopback(address));

  async function checkedAddresses(url: URL): Promise<readonly string[]> {
    const host = hostOf(url);
    // Why a name leads nowhere is not told apart: that would say what names there are inside this network.
    const addresses = isIP(host) ? [host] : await resolve(host).catch(() => []);
    const plain = url.protocol === 'http:';
    const fit = addresses.every((address) => (plain ? isLoopback(address) : true) && allowed(address));
    if (addresses.length === 0 || !fit) throw new OutboundError(NOT_PUBLIC);
    return addresses;
  }

  return {
    fault(url) {
      const host = hostOf(url);
      const here = loopback && (host === 'localhost' || isLoopback(host));
      if (url.protocol !== 'https:' && !(here && url.protocol === 'http:')) return 'The URL must begin with https://.';
      if (url.username !== '' || url.password !== '') return 'The URL must not hold a user name or a password.';
      if (url.hash !== '') return 'The URL must not hold a fragment.';
      const port = url.port === '' ? (url.protocol === 'https:' ? HTTPS_PORT : HTTP_PORT) : Number(url.port);
      if (port !== HTTPS_PORT && port < UNPRIVILEGED_PORT_MIN) return 'The port must be 443, or 1024 and above.';
      if (isIP(host) && !allowed(host)) return NOT_PUBLIC;
      return null;
    },

    async send(url, { method, headers, body }, signal) {
      const addresses = await checkedAddresses(url);
      signal.throwIfAborted();
      const common = { method, headers, signal, lookup: pinnedTo(addresses), maxHeaderSize: ANSWER_HEAD_BYTES_MAX };
      // An agent of its own: no connection is used twice, and no proxy of the environment comes between.
      const request =
        url.protocol === 'https:'
          ? httpsRequest(url, {
              ...common,
              agent: new HttpsAgent({ keepAlive: false }),
              ...(ca !== undefined && { ca }),
            })
          : httpRequest(url, { ...common, agent: new HttpAgent({ keepAlive: false }) });
      return new Promise((answered, failed) => {
        request.on('error', failed);
        request.on('response', answered);
        request.end(body);
      });
    },

    reasonOf(error) {
      if (error instanceof OutboundError) return error.message;
      const { code } = error as NodeJS.ErrnoException;
      return `The connection failed${code !== undefined && /^\w+$/.test(code) ? ` (${code})` : ''}.`;
    },
  };
}
