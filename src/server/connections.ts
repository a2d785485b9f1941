/** The server's certificate and its key, in PEM. */
export interface Tls {
  readonly cert: string;
  readonly key: string;
}

/** How long a client may take to send its headers, its whole request, and to read: a slow one must not hold a connection for ever. */
export interface Patience {
  readonly headersMs: number;
  readonly requestMs: number;
  /** How long a client may take nothing of its answer, which waits in memory meanwhile. */
  readonly unreadMs: number;
  /** How often it is looked at. */
  readonly checkEveryMs: number;
}

export const PATIENCE: Patience = { headersMs: 10_000, requestMs: 30_000, unreadMs: 120_000, checkEveryMs: 1_000 };
const HEADER_BYTES_MAX = 16 * 1024;

/** What Node.js is told of every connection; with `tls` it speaks HTTPS. */
export function connectionOptions(tls: Tls | null, { headersMs, requestMs, checkEveryMs }: Patience) {
  const bounds = {
    ...{ headersTimeout: headersMs, requestTimeout: requestMs, connectionsCheckingInterval: checkEveryMs },
    maxHeaderSize: HEADER_BYTES_MAX,
  };
  const https = tls && { ...bounds, ...tls, minVersion: 'TLSv1.2' as const, handshakeTimeout: headersMs };
  return { requestTimeout: requestMs, ...(https ? { https } : { http: bounds }) };
}
