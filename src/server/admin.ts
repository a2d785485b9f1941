import { fastify, type FastifyInstance } from 'fastify';
import { serveHealth, type CheckReady } from './health.ts';
import type { Logger } from './log.ts';
import type { Metrics } from './metrics.ts';

export interface AdminOptions {
  readonly metrics: Pick<Metrics, 'scrape' | 'contentType'>;
  readonly checkReady: CheckReady;
  readonly log: Logger;
}

/** Metrics and health for whoever runs the installation, on an address of their own: callers of the API never reach it. */
export function createAdminServer({ metrics, checkReady, log }: AdminOptions): FastifyInstance {
  const app = fastify({ logger: false, forceCloseConnections: true });
  app.get('/metrics', async (_request, reply) => reply.type(metrics.contentType).send(await metrics.scrape()));
  serveHealth(app, checkReady, log);
  return app;
}
