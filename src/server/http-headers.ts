import { randomUUID } from 'node:crypto';
import compress from '@fastify/compress';
import cors from '@fastify/cors';
import helmet from '@fastify/helmet';
import type { FastifyInstance } from 'fastify';

/** What is taken over from a client or proxy as the id of a request, to be found again in the log. */
const REQUEST_ID = /^[\w.-]{8,64}$/;
/** A shorter answer fits into one packet, compressed or not. */
const COMPRESSED_FROM_BYTES = 1_400;
/** How long a browser may remember the answer to a preflight. */
const PREFLIGHT_MAX_AGE_S = 600;
const YEAR_S = 31_536_000;

/** The id of a request: that of its sender, if it is one that cannot harm a log, or else a new one. */
export const requestIdOf = (given: string | readonly string[] | undefined): string =>
  typeof given === 'string' && REQUEST_ID.test(given) ? given : randomUUID();

/**
 * The headers that every answer has. They suit an API, whose answers are no pages and are nobody's to keep; what is a page, or may be kept,
 * says so itself.
 */
export async function addHeaders(app: FastifyInstance, { https }: { readonly https: boolean }): Promise<void> {
  app.addHook('onRequest', (request, reply, done) => {
    void reply.header('x-request-id', request.id).header('cache-control', 'no-store');
    done();
  });
  await app.register(helmet, {
    contentSecurityPolicy: {
      useDefaults: false,
      directives: { 'default-src': ["'none'"], 'frame-ancestors': ["'none'"] },
    },
    frameguard: { action: 'deny' },
    // A proxy that brings TLS speaks for its own name; here it would bind a name that may have other servers.
    strictTransportSecurity: https && { maxAge: YEAR_S, includeSubDomains: false },
  });
  // Every origin gets the same: what a credential is good for is decided where its tenant is known (`origins.ts`). There are no cookies, so
  // a page has no more than what it was given.
  await app.register(cors, {
    origin: true,
    methods: ['GET', 'POST'],
    exposedHeaders: ['x-request-id', 'retry-after', 'deprecation', 'sunset', 'content-disposition'],
    maxAge: PREFLIGHT_MAX_AGE_S,
  });
  // Streams go out as they come: a compressor would hold them back.
  await app.register(compress, {
    threshold: COMPRESSED_FROM_BYTES,
    encodings: ['br', 'gzip'],
    customTypes: (type) => /^application\/(json|graphql-response\+json)\b/.test(type),
    globalDecompression: false,
  });
}
