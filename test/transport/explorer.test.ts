import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
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

  it('names no address of another host in what the page runs by itself', async () => {
    const { text } = await http.get('/explorer/');
    const inline = [...text.matchAll(/<script\b[^>]*>([\s\S]*?)<\/script>/gi)].map(([, script]) => script).join('\n');
    const hosts = [...inline.matchAll(/\b(?:https?|wss?):\/\/([^/"'\s\\]+)/gi)].map(([, host]) => host);
    expect(new Set(hosts)).toEqual(new Set([new URL(world.url).host]));
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
      for (const attributes of inline.filter((each) => !/\ssrc=/i.test(each))) {
        expect(attributes).toContain(`nonce="${nonce}"`);
      }
      return nonce;
    });
    expect(nonces[0]).toBeTruthy();
    expect(nonces[0]).not.toBe(nonces[1]);
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

it('the traversal tests aim at files that are there', () => {
  const root = join(import.meta.dirname, '../../node_modules/altair-static');
  expect(readFileSync(join(root, 'package.json'), 'utf8')).toContain('altair-static');
});
