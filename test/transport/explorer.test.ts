import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { demoAccounts } from '../../src/local/demo-data.ts';
import { readStarterOperations } from '../../src/server/explorer-collection.ts';
import { getPath, rawHttp } from '../support/raw-http.ts';
import { startWorld, type World } from '../support/world.ts';

let world: World;
let http: ReturnType<typeof rawHttp>;
beforeAll(async () => {
  world = await startWorld();
  http = rawHttp(world.url);
});
afterAll(() => world.stop());

/** The addresses a page loads by itself. */
const loaded = (html: string): string[] =>
  [...html.matchAll(/<(?:script|link|img|iframe|source)\b[^>]*?\s(?:src|href)\s*=\s*["']?([^"'\s>]+)/gi)].map(
    ([, address]) => address!,
  );

const directives = (policy: string) =>
  Object.fromEntries(
    policy.split(';').map((part) => [part.trim().split(/\s+/)[0]!, part.trim().split(/\s+/).slice(1)]),
  );

describe('/explorer', () => {
  it('leads to the page', async () => {
    const answer = await http.get('/explorer');
    expect(answer.status).toBe(302);
    expect(answer.headers.get('location')).toBe('/explorer/');
  });

  it('shows a page whose every script, style and image comes from here and loads', async () => {
    const page = await http.get('/explorer/');
    expect(page.status).toBe(200);
    expect(page.headers.get('content-type')).toContain('text/html');
    const base = /<base\b[^>]*href=["']([^"']+)/i.exec(page.text)?.[1] ?? '/explorer/';
    expect(base).toBe('/explorer/');
    const addresses = loaded(page.text);
    expect(addresses.length).toBeGreaterThan(2);
    expect(addresses.some((address) => address.endsWith('.js'))).toBe(true);
    for (const address of addresses) {
      const url = new URL(address, `${world.url}${base}`);
      if (url.protocol === 'data:') continue;
      expect(url.origin).toBe(world.url);
      const asset = await http.get(url.pathname);
      expect(asset.status, address).toBe(200);
      const type = asset.headers.get('content-type');
      if (address.endsWith('.js')) expect(type).toContain('text/javascript');
      if (address.endsWith('.css')) expect(type).toContain('text/css');
      if (address.endsWith('.css')) expect(asset.text).not.toMatch(/(?:url\(|@import\s*)["']?(?:https?:)?\/\//i);
    }
  });

  it('names no address of another host, in no script and option of its own', async () => {
    const { text, status } = await http.get('/explorer/options.json');
    expect(status).toBe(200);
    const scripts = ['altair', 'collection', 'credentials', 'session', 'sign-in'].map(
      (name) => `/explorer/page/${name}.js`,
    );
    const pages = await Promise.all(['/explorer/', '/explorer/sign-in', ...scripts].map((path) => http.get(path)));
    for (const page of pages) expect(page.status).toBe(200);
    expect([text, ...pages.map((page) => page.text)].join('\n')).not.toMatch(/\b(?:https?|wss?):\/\//i);
  });

  it('may, by its policy, run only scripts with the nonce of this very answer and reach only this host', async () => {
    const pages = await Promise.all([http.get('/explorer/'), http.get('/explorer/')]);
    const nonces = pages.map(({ headers, text }) => {
      const policy = directives(headers.get('content-security-policy') ?? '');
      expect(policy['default-src']).toEqual(["'self'"]);
      expect(policy['frame-ancestors']).toEqual(["'none'"]);
      const host = new URL(world.url).host;
      expect(policy['connect-src']).toEqual(["'self'", `ws://${host}`, `wss://${host}`]);
      expect(policy['script-src']).toHaveLength(2);
      expect(policy['script-src']?.join(' ')).not.toMatch(/unsafe|\*|http/);
      const nonce = /'nonce-([^']+)'/.exec(policy['script-src']!.join(' '))?.[1];
      const inline = [...text.matchAll(/<script\b([^>]*)>/gi)].map(([, attributes]) => attributes!);
      expect(inline.length).toBeGreaterThan(2);
      for (const attributes of inline) {
        expect(attributes).toContain(`nonce="${nonce}"`);
        expect(attributes).toMatch(/\ssrc=/i);
      }
      return nonce;
    });
    expect(nonces[0]).toBeTruthy();
    expect(nonces[0]).not.toBe(nonces[1]);
  });

  it('guards the form as strictly: nothing but its own runs, nothing is sent by itself, nobody may frame it', async () => {
    const { headers, text } = await http.get('/explorer/sign-in');
    const policy = directives(headers.get('content-security-policy') ?? '');
    const nonce = /nonce="([^"]+)"/.exec(text)?.[1];
    expect(policy).toMatchObject({
      'default-src': ["'none'"],
      'script-src': ["'self'", `'nonce-${nonce}'`],
      'style-src': [`'nonce-${nonce}'`],
      'connect-src': ["'self'"],
      'form-action': ["'none'"],
      'frame-ancestors': ["'none'"],
    });
    expect(headers.get('referrer-policy')).toBe('no-referrer');
    expect(headers.get('cache-control')).toBe('no-store');
    expect(headers.get('x-content-type-options')).toBe('nosniff');
    expect(text).not.toMatch(/<script(?![^>]*src=)|\son\w+=|<style/i);
  });

  it('lets scripts of a collection be evaluated in a worker that reaches nobody, and nowhere else', async () => {
    const { text } = await http.get('/explorer/main.js');
    const workers = [...new Set(text.match(/worker-\w+\.js/g))];
    expect(workers.length).toBeGreaterThan(0);
    for (const worker of workers) {
      const { status, headers } = await http.get(`/explorer/${worker}`);
      expect(status).toBe(200);
      const policy = directives(headers.get('content-security-policy') ?? '');
      expect(policy).toEqual({ 'default-src': ["'none'"], 'script-src': ["'self'", "'unsafe-eval'"] });
    }
    expect((await http.get('/explorer/iframe-sandbox/index.html')).status).toBe(404);
  });

  it('offers the demo accounts, with the password everybody knows and never with one that was configured', async () => {
    const { body } = await http.get('/explorer/options.json');
    expect(body.accounts).toContainEqual({
      name: 'Acme Corporation Member',
      tenant: 'acme',
      email: 'member@acme.example',
      password: 'demo-demo-demo',
    });
    expect(demoAccounts('a password of our own').map(({ password }) => password)).toEqual(Array(5).fill(null));
  });

  it.each([
    '/explorer/..%2f..%2fpackage.json',
    '/explorer/..%2Fpackage.json',
    '/explorer/../../package.json',
    '/explorer/..%2f..%2f..%2f..%2f..%2f..%2f..%2fetc%2fpasswd',
    '/explorer/%2e%2e/%2e%2e/package.json',
    '/explorer/%2e%2e%2fpackage.json',
    '/explorer/..%252f..%252fpackage.json',
    '/explorer/..%5c..%5cpackage.json',
    '/explorer//etc/passwd',
    '/explorer/%2fetc%2fpasswd',
    '/explorer/%00',
    '/explorer/index.html%00.js',
    '/explorer/..%2fdist2%2fx',
    '/explorer/nothing.js',
    '/explorer/assets',
    '/explorer/page/..%2fsession.js',
    '/explorer/page/sign-in.html',
    '/explorer/page/constructor',
    '/explorer/page/tsconfig.json',
    '/explorer/.',
  ])('gives nothing outside its own files: %s is 404', async (path) => {
    const { status, text } = await getPath(world.url, path);
    // `/explorer/.` may be the page itself, where the router tidies it up.
    if (path === '/explorer/.') return expect([200, 404]).toContain(status);
    expect(status).toBe(404);
    expect(text).not.toMatch(/root:|"name":\s*"altair|"dependencies"/);
    expect(JSON.parse(text)).toMatchObject({ errors: [{ extensions: { code: 'BAD_REQUEST' } }] });
  });

  it('is not there when it is switched off', async () => {
    const closed = await startWorld({ config: { explorer: false } });
    try {
      for (const path of ['/explorer', '/explorer/', '/explorer/main.js'])
        expect(await rawHttp(closed.url).get(path)).toMatchObject({ status: 404, code: 'BAD_REQUEST' });
    } finally {
      await closed.stop();
    }
  });
});

it('the starter operations work one after the other on the demo data, each with what the ones before it left', async () => {
  const environment: Record<string, string> = {
    monthStart: new Date(Date.UTC(new Date().getUTCFullYear(), new Date().getUTCMonth())).toISOString(),
    monthEnd: new Date(Date.UTC(new Date().getUTCFullYear(), new Date().getUTCMonth() + 1)).toISOString(),
  };
  const hydrate = (text: string) => text.replace(/{{(\w+)}}/g, (_, name: string) => environment[name] ?? '');
  const operations = readStarterOperations();
  expect(operations.length).toBeGreaterThan(10);
  for (const { title, query, variables, remember } of operations) {
    const values = JSON.parse(hydrate(variables)) as Record<string, unknown>;
    const answer = /^subscription/m.test(query)
      ? (await world.acme.admin.stream(query, values).next()).value
      : await world.acme.admin.run(query, values);
    expect(answer.errors ?? [], title).toEqual([]);
    expect(Object.values(answer.data)[0], title).not.toBeNull();
    for (const [name, path] of Object.entries(remember)) {
      environment[name] = path.split('.').reduce((value, key) => value[key], answer.data);
      expect(environment[name], title).toMatch(/\w/);
    }
    // An answer may take its time, and the next message has to wait for it.
    if (title === 'Stream the answer') for await (const _ of world.acme.admin.stream(query, values));
  }
});

it('the traversal tests aim at files that are there', () => {
  const root = join(import.meta.dirname, '../../node_modules/altair-static');
  expect(readFileSync(join(root, 'package.json'), 'utf8')).toContain('altair-static');
});
