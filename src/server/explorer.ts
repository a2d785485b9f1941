import { randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { extname, join, normalize, sep } from 'node:path';
import { getDistDirectory, isSandboxFrame, renderAltair, SANDBOX_FRAME_CSP } from 'altair-static';
import type { FastifyInstance } from 'fastify';

const MEDIA_TYPES: Readonly<Record<string, string>> = {
  '.css': 'text/css; charset=utf-8',
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.json': 'application/json; charset=utf-8',
  '.png': 'image/png',
  '.svg': 'image/svg+xml',
  '.ttf': 'font/ttf',
  '.woff': 'font/woff',
  '.woff2': 'font/woff2',
};

/** What a newcomer finds in the editor. The headers are set up to send whatever stands in the environment as `token`. */
const FIRST_QUERY = `# Sign in, then paste the access token into the environment (top right) as "token".
mutation SignIn {
  signIn(input: { tenant: "acme", email: "member@acme.example", password: "…" }) {
    accessToken
  }
}

query WhoAmI {
  viewer { name roles tenant { name agents { id name } } }
}
`;

/** Scripts only from here and with this page's nonce, and connections only to this host: the page cannot reach any other. */
const policy = (nonce: string, host: string): string =>
  [
    "default-src 'self'",
    `script-src 'self' 'nonce-${nonce}'`,
    "style-src 'self' 'unsafe-inline'",
    "img-src 'self' data:",
    "font-src 'self' data:",
    `connect-src 'self' ws://${host} wss://${host}`,
    "frame-src 'self' data:",
    "frame-ancestors 'none'",
  ].join('; ');

/** Altair at `/explorer`, from the package and from nowhere else. */
export function serveExplorer(app: FastifyInstance): void {
  const root = normalize(getDistDirectory());

  app.get('/explorer', (_request, reply) => reply.redirect('/explorer/'));

  app.get('/explorer/', (request, reply) => {
    const nonce = randomUUID();
    const socketScheme = request.protocol === 'https' ? 'wss' : 'ws';
    return reply
      .header('content-security-policy', policy(nonce, request.host))
      .type('text/html; charset=utf-8')
      .send(
        renderAltair({
          baseURL: '/explorer/',
          endpointURL: '/graphql',
          subscriptionsEndpoint: `${socketScheme}://${request.host}/graphql`,
          initialSubscriptionRequestHandlerId: 'graphql-ws',
          initialQuery: FIRST_QUERY,
          initialEnvironments: { base: { title: 'Environment', variables: { token: '' } } },
          initialHeaders: { authorization: 'Bearer {{token}}' },
          initialSubscriptionsPayload: { authorization: 'Bearer {{token}}' },
          initialSettings: { 'banners.disable': true, 'alert.disableUpdateNotification': true },
          disableAccount: true,
          cspNonce: nonce,
        }),
      );
  });

  app.get<{ Params: { '*': string } }>('/explorer/*', async (request, reply) => {
    const path = normalize(join(root, request.params['*']));
    const file = path.startsWith(root + sep) ? await stat(path).catch(() => null) : null;
    if (!file?.isFile()) return reply.callNotFound();
    if (isSandboxFrame(path)) void reply.header('content-security-policy', SANDBOX_FRAME_CSP);
    return reply.type(MEDIA_TYPES[extname(path)] ?? 'application/octet-stream').send(createReadStream(path));
  });
}
