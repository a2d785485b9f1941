import type { ApolloServer } from '@apollo/server';
import { fastifyApolloHandler } from '@as-integrations/fastify';
import { fastify, type FastifyError, type FastifyInstance, type FastifyReply } from 'fastify';
import type { RequestContext } from '../context.ts';
import { connectionOptions, PATIENCE, type Patience, type Tls } from './connections.ts';
import { serveExplorer, type DemoAccount } from './explorer.ts';
import { serveHealth, type CheckReady } from './health.ts';
import { addHeaders, requestIdOf } from './http-headers.ts';
import { goneSignal, refusal, senderOf } from './http-request.ts';
import type { Logger } from './log.ts';
import type { ContextBuilder } from './request-context.ts';
import { wantsEvents, type SseServer } from './sse.ts';

const BODY_BYTES_MAX = 1024 * 1024;
/** How long whoever verifies our tokens may go on with the keys they have. A new key is published that long before it signs. */
const JWKS_MAX_AGE_S = 300;

export interface HttpOptions {
  readonly apollo: ApolloServer<RequestContext>;
  readonly contextOf: ContextBuilder;
  readonly sse: SseServer;
  readonly log: Logger;
  readonly explorer: boolean;
  readonly demoAccounts: readonly DemoAccount[];
  readonly checkReady: CheckReady;
  readonly jwks: object;
  readonly trustedProxies: readonly string[];
  /** Null: it speaks plain HTTP. */
  readonly tls: Tls | null;
  readonly patience?: Patience;
}

export async function createHttpServer(options: HttpOptions): Promise<FastifyInstance> {
  const { apollo, contextOf, sse, log, explorer, checkReady, jwks, trustedProxies, tls, patience = PATIENCE } = options;
  const app = fastify({
    ...connectionOptions(tls, patience),
    bodyLimit: BODY_BYTES_MAX,
    genReqId: ({ headers }) => requestIdOf(headers['x-request-id']),
    requestIdHeader: false,
    forceCloseConnections: 'idle',
    logger: false,
    trustProxy: [...trustedProxies],
    // An address that cannot be decoded has no route whose types the reply could have.
    frameworkErrors: (error, { id }, reply: FastifyReply) =>
      void reply
        .code(error.statusCode ?? 400)
        .header('x-request-id', id)
        .send(refusal(error.message)),
  });

  app.setErrorHandler<FastifyError>((error, request, reply) => {
    const status = error.statusCode ?? 500;
    if (status >= 500) log.error({ err: error, requestId: request.id }, 'http error');
    return reply.code(status).send(refusal(status >= 500 ? 'Something went wrong on our side.' : error.message));
  });
  app.setNotFoundHandler((_request, reply) => reply.code(404).send(refusal('There is nothing at this address.')));

  // From here on it is the client's turn, unless the route has set a time of its own.
  app.addHook('onSend', (_request, { raw }, _payload, done) => {
    if (raw.listenerCount('timeout') === 0) raw.setTimeout(patience.unreadMs, () => raw.destroy());
    done();
  });
  await addHeaders(app, { https: tls !== null });

  const answer = fastifyApolloHandler(apollo, {
    context: (request, reply) => contextOf(senderOf(request), goneSignal(reply)),
  });
  app.route({
    method: ['GET', 'POST'],
    url: '/graphql',
    handler(request, reply) {
      return wantsEvents(request) ? sse.serve(request, reply) : answer.call(app, request, reply);
    },
  });
  serveHealth(app, checkReady, log);
  app.get('/.well-known/jwks.json', (_request, reply) =>
    reply.header('cache-control', `public, max-age=${JWKS_MAX_AGE_S}`).send(jwks),
  );
  if (explorer) serveExplorer(app, options.demoAccounts);
  return app;
}
