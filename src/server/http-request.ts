import type { FastifyReply, FastifyRequest } from 'fastify';
import { callerGone } from './operations/deadline.ts';
import { foreignOrigin } from './origins.ts';
import type { Sender } from './request-context.ts';

const header = (request: FastifyRequest, name: string): string | null => {
  const value = request.headers[name];
  return typeof value === 'string' ? value : null;
};

export const senderOf = (request: FastifyRequest): Sender => ({
  authorization: header(request, 'authorization'),
  apiKey: header(request, 'x-api-key'),
  tenant: header(request, 'x-tenant-id'),
  requestId: request.id,
  origin: foreignOrigin(request.headers.origin, request.host),
  ipAddress: request.ip,
  userAgent: header(request, 'user-agent'),
});

/** Aborts when the connection has closed before the whole answer was written. */
export function goneSignal({ raw }: FastifyReply): AbortSignal {
  const gone = new AbortController();
  raw.once('close', () => !raw.writableFinished && gone.abort(callerGone()));
  return gone.signal;
}

/** Faults of HTTP itself, in the shape of a GraphQL response, so that clients need to know only one. */
export const refusal = (message: string) => ({ errors: [{ message, extensions: { code: 'BAD_REQUEST' } }] });
