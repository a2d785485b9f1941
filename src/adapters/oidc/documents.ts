import type { IncomingMessage } from 'node:http';
import type { Clock } from '../../kernel/clock.ts';
import { createOutbound, OutboundError, type OutboundOptions } from '../outbound/request.ts';

/** From the look-up of the name to the end of the answer. */
export const FETCH_TIMEOUT_MS = 5_000;
/** A set of some hundred keys; those of the large providers have under 10 kB. */
export const DOCUMENT_BYTES_MAX = 262_144;

export interface DocumentOptions extends OutboundOptions {
  readonly clock: Clock;
}

export interface Documents {
  /** Why nothing is fetched from this URL, as far as that is known without looking its name up; null: it may be. */
  fault(url: URL): string | null;
  /** @throws an error for `reasonOf`: no redirect is followed, and nothing larger or slower than the limits is taken. */
  fetch(address: string): Promise<unknown>;
  /** Why fetching failed, in words that may be shown to whoever chose the address. */
  reasonOf(error: unknown): string;
}

async function readWhole(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > DOCUMENT_BYTES_MAX) throw new OutboundError(`The answer has more than ${DOCUMENT_BYTES_MAX} bytes.`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new OutboundError('The answer is no JSON.');
  }
}

/** Fetches JSON from public addresses. */
export function createDocuments({ clock, ...options }: DocumentOptions): Documents {
  const outbound = createOutbound(options);

  async function get(address: string, signal: AbortSignal): Promise<unknown> {
    const url = URL.parse(address);
    const fault = url ? outbound.fault(url) : 'That is no URL.';
    if (!url || fault !== null) throw new OutboundError(fault ?? '');
    const response = await outbound.send(url, { method: 'GET', headers: { accept: 'application/json' } }, signal);
    try {
      if (response.statusCode !== 200) throw new OutboundError(`The issuer answered ${response.statusCode}.`);
      return parse(await readWhole(response));
    } finally {
      response.destroy();
    }
  }

  return {
    fault: (url) => outbound.fault(url),
    reasonOf: (error) => outbound.reasonOf(error),
    async fetch(address) {
      const deadline = new AbortController();
      const late = Promise.withResolvers<never>();
      const cancel = clock.after(FETCH_TIMEOUT_MS, () => {
        late.reject(new OutboundError(`The issuer did not answer within ${FETCH_TIMEOUT_MS / 1_000} s.`));
        deadline.abort();
      });
      try {
        // Against the clock as a whole, because a look-up cannot be broken off.
        return await Promise.race([get(address, deadline.signal), late.promise]);
      } finally {
        cancel();
      }
    },
  };
}
