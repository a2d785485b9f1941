import { randomUUID } from 'node:crypto';
import { createReadStream, readdirSync, readFileSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { basename, extname, join, normalize, sep } from 'node:path';
import { getAltairHtml, getDistDirectory, isSandboxFrame } from 'altair-static';
import type { FastifyInstance, FastifyReply } from 'fastify';
import { readStarterOperations, starterCollection, starterTab } from './explorer-collection.ts';

/** Somebody the sign-in form offers to fill in. */
export interface DemoAccount {
  readonly name: string;
  readonly tenant: string;
  readonly email: string;
  /** Null: it was configured, and is a secret. */
  readonly password: string | null;
}

/** Our own part of what the browser is given: the sign-in form, the bar above Altair, and what brings both together. */
const PAGE = join(import.meta.dirname, '../../explorer');

const MEDIA_TYPES: Readonly<Record<string, string>> = {
  '.css': 'text/css; charset=utf-8',
  '.html': 'text/html; charset=utf-8',
  '.ico': 'image/x-icon',
  '.js': 'text/javascript; charset=utf-8',
  '.json': 'application/json; charset=utf-8',
  '.png': 'image/png',
  '.svg': 'image/svg+xml',
  '.ttf': 'font/ttf',
  '.woff': 'font/woff',
  '.woff2': 'font/woff2',
};

const mediaType = (path: string): string => MEDIA_TYPES[extname(path)] ?? 'application/octet-stream';

/** Only what this page brings runs, and only this host is reached. */
const signInPolicy = (nonce: string): string =>
  [
    "default-src 'none'",
    `script-src 'self' 'nonce-${nonce}'`,
    `style-src 'nonce-${nonce}'`,
    "img-src 'self'",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join('; ');

/** The same for Altair, which adds styles and images of its own. */
const altairPolicy = (nonce: string, host: string): string =>
  [
    "default-src 'self'",
    `script-src 'self' 'nonce-${nonce}'`,
    `style-src 'self' 'nonce-${nonce}'`,
    "style-src-attr 'unsafe-inline'",
    "img-src 'self' data:",
    "font-src 'self' data:",
    `connect-src 'self' ws://${host} wss://${host}`,
    "frame-src 'none'",
    "object-src 'none'",
    "base-uri 'self'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join('; ');

/** Altair is megabytes, and changes with a release of this server only. */
const ALTAIR_MAX_AGE_S = 600;

/** Altair runs people's scripts in a worker of this kind: it may evaluate them, and they reach nobody. */
const WORKER = /^worker-\w+\.js$/;
const WORKER_POLICY = "default-src 'none'; script-src 'self' 'unsafe-eval'";

function sendPage(reply: FastifyReply, html: string, policy: string): FastifyReply {
  return reply
    .headers({
      'content-security-policy': policy,
      'referrer-policy': 'no-referrer',
      'x-content-type-options': 'nosniff',
      'x-frame-options': 'DENY',
      'cross-origin-opener-policy': 'same-origin',
      'cache-control': 'no-store',
    })
    .type('text/html; charset=utf-8')
    .send(html);
}

/** Altair's own page, with the bar above it, started by our script and not before somebody has signed in. */
function altairPage(nonce: string, bar: string): string {
  return getAltairHtml()
    .replace(/<base.*>/, '<base href="/explorer/" />')
    .replace(/<title>.*<\/title>/, '<title>API explorer</title>')
    .replace('<style>', `<style nonce="${nonce}">`)
    .replace('<app-root>', `<app-root ngCspNonce="${nonce}">`)
    .replaceAll('<script ', `<script nonce="${nonce}" `)
    .replace('</head>', `<link href="page/style.css" rel="stylesheet" /></head>`)
    .replace('<body>', `<body>${bar}`)
    .replace('</body>', `<script type="module" nonce="${nonce}" src="page/altair.js"></script></body>`);
}

/** What the pages ask for when they begin: whom the form offers, and how Altair is set up. */
function pageOptions(accounts: readonly DemoAccount[]) {
  const operations = readStarterOperations();
  return {
    accounts,
    collection: starterCollection(operations),
    altair: {
      initialWindows: operations.slice(0, 1).map(starterTab),
      initialHeaders: { authorization: 'Bearer SESSION' },
      initialSubscriptionsPayload: { authorization: 'Bearer SESSION' },
      initialSubscriptionRequestHandlerId: 'graphql-ws',
      // What operations remember for each other is written to the active environment.
      initialEnvironments: {
        base: { title: 'Environment' },
        subEnvironments: [{ id: 'explorer', title: 'Explorer', variables: { conversationId: '', messageId: '' } }],
        activeSubEnvironment: 'explorer',
      },
      initialSettings: {
        'banners.disable': true,
        'alert.disableUpdateNotification': true,
        theme: 'light',
        'theme.dark': 'dark',
      },
      disableAccount: true,
    },
  };
}

/** Altair at `/explorer`, behind a sign-in form; all of it from here and from its package, and from nowhere else. */
export function serveExplorer(app: FastifyInstance, accounts: readonly DemoAccount[]): void {
  const read = (name: string) => readFileSync(join(PAGE, name), 'utf8');
  const signIn = read('sign-in.html');
  const bar = read('bar.html');
  const files = new Map(
    readdirSync(PAGE)
      .filter((name) => /\.(js|css)$/.test(name))
      .map((name) => [name, read(name)]),
  );
  const options = pageOptions(accounts);
  const altair = normalize(getDistDirectory());

  app.get('/explorer', (_request, reply) => reply.redirect('/explorer/'));

  app.get('/explorer/', (request, reply) => {
    const nonce = randomUUID();
    return sendPage(reply, altairPage(nonce, bar), altairPolicy(nonce, request.host));
  });

  app.get('/explorer/sign-in', (_request, reply) => {
    const nonce = randomUUID();
    return sendPage(reply, signIn.replaceAll('{{nonce}}', nonce), signInPolicy(nonce));
  });

  app.get('/explorer/options.json', (_request, reply) => reply.header('cache-control', 'no-store').send(options));

  app.get<{ Params: { name: string } }>('/explorer/page/:name', (request, reply) => {
    const text = files.get(request.params.name);
    if (text === undefined) return reply.callNotFound();
    return reply.header('cache-control', 'no-cache').type(mediaType(request.params.name)).send(text);
  });

  app.get<{ Params: { '*': string } }>('/explorer/*', async (request, reply) => {
    const path = normalize(join(altair, request.params['*']));
    const file = path.startsWith(altair + sep) ? await stat(path).catch(() => null) : null;
    // The frame for scripts is for installations where no worker may evaluate: here it would only be one more page.
    if (!file?.isFile() || isSandboxFrame(path)) return reply.callNotFound();
    if (WORKER.test(basename(path))) void reply.header('content-security-policy', WORKER_POLICY);
    return reply
      .header('cache-control', `public, max-age=${ALTAIR_MAX_AGE_S}`)
      .type(mediaType(path))
      .send(createReadStream(path));
  });
}
