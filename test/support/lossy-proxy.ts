import { createServer, request as forward, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';

/** A request to DynamoDB as it passes. */
export interface PassingRequest {
  /** E.g. `UpdateItem`. */
  readonly operation: string;
  /** The body as it was sent: enough to look for a key in. */
  readonly body: string;
}

/**
 * What becomes of it: `pass`, `lose` (DynamoDB has done it, and the connection dies before the client hears of it),
 * or `refuse` (DynamoDB never sees it, and the client is told so without a chance of trying again).
 */
export type Fate = 'pass' | 'lose' | 'refuse';

export interface LossyProxy {
  readonly endpoint: string;
  /** Decides for every request from now on, before DynamoDB sees it; null: all pass. A promise holds the request up. */
  decide(fate: ((request: PassingRequest) => Fate | Promise<Fate>) | null): void;
  /** Loses the answer to the next such request, once `meanwhile` is over; true in `happened()` afterwards. */
  loseNext(wanted: (request: PassingRequest) => boolean, meanwhile?: () => Promise<unknown>): { happened(): boolean };
  close(): Promise<void>;
}

async function bodyOf(message: IncomingMessage): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of message as AsyncIterable<Buffer>) parts.push(part);
  return Buffer.concat(parts);
}

/** Stands between the stores and their engine, and loses answers on request. */
export async function startLossyProxy(endpoint: string): Promise<LossyProxy> {
  const target = new URL(endpoint);
  let decide: ((request: PassingRequest) => Fate | Promise<Fate>) | null = null;
  let whileLost: (() => Promise<unknown>) | null = null;

  const send = (incoming: IncomingMessage, body: Buffer) =>
    new Promise<{ status: number; headers: IncomingMessage['headers']; body: Buffer }>((resolve, reject) => {
      const outgoing = forward(
        { host: target.hostname, port: target.port, method: 'POST', path: '/', headers: incoming.headers },
        (answer) =>
          void bodyOf(answer).then(
            (answered) => resolve({ status: answer.statusCode ?? 500, headers: answer.headers, body: answered }),
            reject,
          ),
      );
      outgoing.on('error', reject);
      outgoing.end(body);
    });

  const server = createServer((incoming, response) => {
    void (async () => {
      const body = await bodyOf(incoming);
      const operation = String(incoming.headers['x-amz-target']).split('.')[1] ?? '';
      const fate = (await decide?.({ operation, body: body.toString() })) ?? 'pass';
      if (fate === 'refuse') {
        response.writeHead(400, { 'content-type': 'application/x-amz-json-1.0' });
        response.end(JSON.stringify({ __type: 'com.amazon.coral.validate#ValidationException', message: 'refused' }));
        return;
      }
      const answer = await send(incoming, body);
      if (fate === 'lose') {
        await whileLost?.();
        response.destroy();
        return;
      }
      const { 'transfer-encoding': _chunked, ...headers } = answer.headers;
      response.writeHead(answer.status, { ...headers, 'content-length': String(answer.body.length) });
      response.end(answer.body);
    })().catch(() => response.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));

  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    decide(fate) {
      decide = fate;
      whileLost = null;
    },
    loseNext(wanted, meanwhile) {
      let lost = false;
      whileLost = meanwhile ?? null;
      decide = (request) => {
        if (lost || !wanted(request)) return 'pass';
        lost = true;
        return 'lose';
      };
      return { happened: () => lost };
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
