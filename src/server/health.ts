import type { FastifyInstance } from 'fastify';
import type { Logger } from './log.ts';

/** Rejects while the server cannot do its work. */
export type CheckReady = () => Promise<void>;

/**
 * `/livez`: the process answers. `/readyz`: it can do its work. Why it cannot is told to the log and to nobody else, in a word:
 * balancers ask often, and a stack would say no more.
 */
export function serveHealth(app: FastifyInstance, checkReady: CheckReady, log: Logger): void {
  app.get('/livez', () => ({ status: 'ok' }));
  app.get('/readyz', async (_request, reply) => {
    try {
      await checkReady();
      return { status: 'ok' };
    } catch (error) {
      log.warn({ reason: reasonOf(error) }, 'not ready');
      return reply.code(503).send({ status: 'unavailable' });
    }
  });
}

/** Some errors of the network have a name and no message. */
const reasonOf = (error: unknown): string => (error instanceof Error ? error.message || error.name : String(error));
