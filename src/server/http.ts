import cors from '@fastify/cors';
import type { ApolloServer } from '@apollo/server';
import { fastifyApolloHandler } from '@as-integrations/fastify';
import { fastify, type FastifyError, type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import type { RequestContext } from '../context.ts';
import { serveExplorer, type DemoAccount } from './explorer.ts';
import { serveHealth, type CheckReady } from './health.ts';
import type { Logger } from './log.ts';
import { callerGone } from './operations/deadline.ts';
import type { ContextBuilder, Sender } from './request-context.ts';

const BODY_BYTES_MAX = 1024 * 1024;
/** How long a client may take to send a whole request: a slow one must not hold a connection for ever. */
const REQUEST_TIMEOUT_MS = 30_000;
/** How long whoever verifies our tokens may go on with the keys they have. A new key is published that long before it signs. */
const JWKS_MAX_AGE_S = 300;

export interface HttpOptions {
  readonly apollo: ApolloServer<RequestContext>;
  readonly contextOf: ContextBuilder;
  readonly log: Logger;
  readonly corsOrigins: readonly string[];
  readonly explorer: boolean;
  readonly demoAccounts: readonly DemoAccount[];
  readonly checkReady: CheckReady;
  readonly jwks: object;
  readonly trustedProxies: readonly string[];
}

const header = (request: FastifyRequest, name: string): string | null => {
  const value = request.headers[name];
  return typeof value === 'string' ? value : null;
};

export const senderOf = (request: FastifyRequest): Sender => ({
  authorization: header(request, 'authorization'),
  apiKey: header(request, 'x-api-key'),
  tenant: header(request, 'x-tenant-id'),
  requestId: header(request, 'x-request-id'),
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
const refusal = (message: string) => ({ errors: [{ message, extensions: { code: 'BAD_REQUEST' } }] });

export async function createHttpServer(options: HttpOptions): Promise<FastifyInstance> {
  const { apollo, contextOf, log, corsOrigins, explorer, checkReady, jwks, trustedProxies } = options;
  const app = fastify({
    bodyLimit: BODY_BYTES_MAX,
    requestTimeout: REQUEST_TIMEOUT_MS,
    forceCloseConnections: 'idle',
    logger: false,
    trustProxy: [...trustedProxies],
    // An address that cannot be decoded has no route whose types the reply could have.
    frameworkErrors: (error, _request, reply: FastifyReply) =>
      void reply.code(error.statusCode ?? 400).send(refusal(error.message)),
  });

  app.setErrorHandler<FastifyError>((error, _request, reply) => {
    const status = error.statusCode ?? 500;
    if (status >= 500) log.error({ err: error }, 'http error');
    return reply.code(status).send(refusal(status >= 500 ? 'Something went wrong on our side.' : error.message));
  });
  app.setNotFoundHandler((_request, reply) => reply.code(404).send(refusal('There is nothing at this address.')));

  if (corsOrigins.length > 0) {
    await app.register(cors, {
      origin: [...corsOrigins],
      allowedHeaders: [
        'authorization',
        'x-api-key',
        'content-type',
        'x-tenant-id',
        'x-request-id',
        'apollo-require-preflight',
      ],
      exposedHeaders: ['x-request-id', 'retry-after', 'content-disposition'],
    });
  }

  app.route({
    method: ['GET', 'POST'],
    url: '/graphql',
    handler: fastifyApolloHandler(apollo, {
      async context(request, reply) {
        const context = await contextOf(senderOf(request), goneSignal(reply));
        void reply.header('x-request-id', context.requestId).header('cache-control', 'no-store');
        return context;
      },
    }),
  });
  serveHealth(app, checkReady, log);
  app.get('/.well-known/jwks.json', (_request, reply) =>
    reply.header('cache-control', `public, max-age=${JWKS_MAX_AGE_S}`).send(jwks),
  );
  if (explorer) serveExplorer(app, options.demoAccounts);
  return app;
}
