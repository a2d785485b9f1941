import type { Browser, BrowserContext, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { demoApiKey } from '../../src/local/demo-data.ts';
import { startWorld, type World } from '../support/world.ts';
import { CHROMIUM, CHROMIUM_REQUIRED, launchChromium } from './chromium.ts';

/** A browser shares its machine with the rest of the tests. */
const PATIENCE_MS = 30_000;

let world: World;
let browser: Browser;
/** The page of somebody who signs in once and goes on with it, test after test. */
let page: Page;
const contexts: BrowserContext[] = [];
/** What a page did that it should not have: asked another host, broke its policy, threw. */
const faults: string[] = [];

async function newPage(): Promise<Page> {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
  contexts.push(context);
  context.setDefaultTimeout(PATIENCE_MS);
  const host = new URL(world.url).host;
  // Whatever else is asked for is not only noticed but refused.
  await context.route(
    (url) => url.host !== host && url.protocol !== 'data:',
    (route) => {
      faults.push(`asked for ${route.request().url()}`);
      return route.abort();
    },
  );
  const opened = await context.newPage();
  opened.on(
    'websocket',
    (socket) => new URL(socket.url()).host === host || faults.push(`connected to ${socket.url()}`),
  );
  opened.on('pageerror', (error) => faults.push(`threw ${error.message}`));
  opened.on('console', (message) => {
    if (message.text().includes('Content Security Policy')) faults.push(message.text());
  });
  return opened;
}

const visit = (on: Page, path: string) => on.goto(world.url + path, { waitUntil: 'commit' });

async function fill(on: Page, { tenant = 'acme', email = 'admin@acme.example', password = 'demo-demo-demo' } = {}) {
  await on.getByLabel('Tenant').fill(tenant);
  await on.getByLabel('E-mail address').fill(email);
  await on.getByLabel('Password').fill(password);
}

const sendButton = (on: Page) => on.locator('button.send-request__button:visible');
const alert = (on: Page) => on.locator('#password-form [role=alert]');

/** Opens an operation of the starter collection and sends it. */
async function run(title: string) {
  await page.locator('[data-test-id=query-item-title]').getByText(title, { exact: true }).click();
  await page.locator('.window-switcher__item--active, .ant-tabs-tab-active').getByText(title).waitFor();
  await sendButton(page).click();
}

/** The text of the result pane once it holds this. */
async function resultWith(text: string): Promise<string> {
  const pane = page.locator('app-query-result:visible');
  await pane.getByText(text).first().waitFor();
  return pane.innerText();
}

/** Runs in the page. */
const READ_ALL_STORED = `(async () => {
  const result = (request) => new Promise((resolve) => (request.onsuccess = () => resolve(request.result)));
  const rows = [];
  for (const { name } of await indexedDB.databases()) {
    const database = await result(indexedDB.open(name));
    for (const store of database.objectStoreNames)
      rows.push(await result(database.transaction(store).objectStore(store).getAll()));
    database.close();
  }
  return JSON.stringify([rows, { ...localStorage }, { ...sessionStorage }, document.cookie, location.href]);
})()`;

/** Everything the browser has stored for this page. */
const stored = (on: Page): Promise<string> => on.evaluate(READ_ALL_STORED);

describe.skipIf(CHROMIUM === null && !CHROMIUM_REQUIRED)('the explorer, in Chromium', () => {
  beforeAll(async () => {
    world = await startWorld();
    browser = await launchChromium();
    page = await newPage();
    page.context().on('request', () => undefined);
  }, PATIENCE_MS);
  afterAll(async () => {
    await browser.close();
    await world.stop();
  });

  it(
    'offers a form to whoever is not signed in, which can be used by its labels and by keyboard alone',
    async () => {
      await visit(page, '/explorer');
      await page.waitForURL('**/explorer/sign-in', { waitUntil: 'commit' });
      await page.getByRole('button', { name: /Acme Corporation Admin/ }).waitFor();
      await page.keyboard.type('acme'); // the first field has the focus
      await page.keyboard.press('Tab');
      await page.keyboard.type('admin@acme.example');
      await page.keyboard.press('Tab');
      expect(await page.evaluate('document.activeElement?.id')).toBe('password');
    },
    PATIENCE_MS,
  );

  it(
    'says what is missing, and what the API has against a sign-in, as text and never as markup',
    async () => {
      await page.keyboard.press('Enter');
      await expect.poll(() => alert(page).innerText()).toBe('Password is missing.');
      await fill(page, { tenant: '<img src=x onerror=alert(1)>', password: 'wrong' });
      await page.keyboard.press('Enter');
      await expect.poll(() => alert(page).innerText()).toContain('the password is wrong');
      const hostile = '<img src=x onerror="document.title = 1">';
      const error = (code: string, details: object) => ({
        status: 429,
        json: { errors: [{ message: hostile, extensions: { code, ...details } }] },
      });
      await page.route('**/graphql', (route) => route.fulfill(error('TENANT_SUSPENDED', {})), { times: 1 });
      await page.keyboard.press('Enter');
      await expect.poll(() => alert(page).innerText()).toBe(hostile);
      expect(await alert(page).locator('img').count()).toBe(0);
      await page.route('**/graphql', (route) => route.fulfill(error('RATE_LIMITED', { retryAfterMs: 41_001 })), {
        times: 1,
      });
      await page.keyboard.press('Enter');
      await expect.poll(() => alert(page).innerText()).toBe('Too many attempts. Try again in 42 seconds.');
      await page.route('**/graphql', (route) => route.abort(), { times: 1 });
      await page.keyboard.press('Enter');
      await expect.poll(() => alert(page).innerText()).toBe('The server does not answer.');
    },
    PATIENCE_MS,
  );

  it(
    'signs in by a demo account, and runs a query as whoever that is',
    async () => {
      await page.getByRole('button', { name: /Acme Corporation Admin/ }).click();
      await page.keyboard.press('Enter');
      await sendButton(page).waitFor();
      expect(await page.locator('#bar').innerText()).toContain('Acme Corporation Admin');
      await sendButton(page).click();
      expect(await resultWith('TENANT_ADMIN')).toContain('"acme"');
    },
    PATIENCE_MS,
  );

  it(
    'has a collection of operations that follow each other: a conversation, a message, and its streamed answer',
    async () => {
      await page.getByLabel('Collections').click();
      await page.locator('[data-test-id=collection-collapse]').getByText('Start here').click();
      await run('Start a conversation');
      await resultWith('From the explorer');
      await page
        .getByText(/Updated active environment variables: conversationId/)
        .first()
        .waitFor();
      await run('Cancel the answer');
      expect(await resultWith('"errors"'), 'a refusal is shown whole').toContain('"NOT_FOUND"');
      await run('Send a message');
      await resultWith('STREAMING');
      await page
        .getByText(/Updated active environment variables: messageId/)
        .first()
        .waitFor();
      await run('Stream the answer');
      expect(await resultWith('MessageCompleted')).toContain('MessageDelta');
      await run('Usage this month');
      expect(await resultWith('usageSummary')).toContain('Acme Corporation Admin');
    },
    2 * PATIENCE_MS,
  );

  it(
    'stores no token, and puts none in an address; scripts of a collection see a placeholder',
    async () => {
      const all = await stored(page);
      expect(all).toContain('Bearer SESSION');
      expect(all).not.toMatch(/eyJ|rt\.acme/);
    },
    PATIENCE_MS,
  );

  it(
    'goes on after a reload, and after its access token was renewed',
    async () => {
      const renewed = page.waitForResponse((response) => /refreshSession/.test(response.request().postData() ?? ''));
      // Half an hour passes, as far as this page can tell.
      await page.addInitScript(() => {
        const now = Date.now.bind(Date);
        Date.now = () => now() + 1_800_000;
      });
      await page.reload({ waitUntil: 'commit' });
      await renewed;
      await sendButton(page).waitFor();
      const answered = page.waitForResponse((response) => response.url().endsWith('/graphql'));
      await sendButton(page).click();
      expect((await answered).status()).toBe(200);
      await resultWith('Acme Corporation Admin');
      expect(await stored(page)).not.toMatch(/eyJ|rt\.acme/);
    },
    PATIENCE_MS,
  );

  it(
    'ends the session at the sign-out, forgets the tabs, and does not come back',
    async () => {
      await page.getByRole('button', { name: 'Sign out' }).click();
      await page.getByText('You are signed out.').waitFor();
      await visit(page, '/explorer/');
      await page.waitForURL('**/explorer/sign-in', { waitUntil: 'commit' });
      expect(await stored(page)).not.toContain('From the explorer"');
    },
    PATIENCE_MS,
  );

  it(
    'takes a token, says when it is no good, and lets an operator choose the tenant to act in',
    async () => {
      const other = await newPage();
      await visit(other, '/explorer/sign-in');
      await other.getByText('Use an access token').click();
      await other.getByLabel('Token or key').fill('eyJhbGciOi');
      await other.keyboard.press('Enter');
      await expect
        .poll(() => other.locator('#token-form [role=alert]').innerText())
        .toContain('This token is not valid');
      await other.getByLabel('Token or key').fill(world.operator.token!);
      await other.keyboard.press('Enter');
      await other.getByLabel('acting in').fill('globex');
      const [request] = await Promise.all([
        other.waitForRequest(async (sent) => (await sent.headerValue('x-tenant-id')) !== null),
        sendButton(other).click(),
      ]);
      expect(request.headers()).toMatchObject({
        'x-tenant-id': 'globex',
        authorization: `Bearer ${world.operator.token}`,
      });
      await other.context().close();
    },
    PATIENCE_MS,
  );

  it(
    'takes the API key of a partner, over HTTP and over a socket',
    async () => {
      const key = demoApiKey('acme', 'demo-demo-demo').text;
      const other = await newPage();
      await visit(other, '/explorer/sign-in');
      await other.getByText('Use an access token').click();
      await other.getByLabel('Token or key').fill(key);
      await other.keyboard.press('Enter');
      await sendButton(other).waitFor();
      expect(await other.locator('#bar').innerText()).toContain('An API key'); // it may not ask who it is
      const sent = other.waitForRequest((request) => request.url().endsWith('/graphql'));
      await sendButton(other).click();
      expect((await sent).headers()).toMatchObject({ 'x-api-key': key });
      expect((await sent).headers()).not.toHaveProperty('authorization');
      await other.locator('app-query-result:visible').getByText('PERSISTED_OPERATION_REQUIRED').waitFor();
      // As Altair opens one: with the placeholder.
      const first = await other.evaluate(`new Promise((resolve) => {
        const socket = new WebSocket(location.origin.replace('http', 'ws') + '/graphql', 'graphql-transport-ws');
        socket.onmessage = ({ data }) => resolve(data);
        socket.onclose = ({ code }) => resolve(code);
        socket.onopen = () => socket.send(JSON.stringify({ type: 'connection_init', payload: { authorization: 'Bearer SESSION' } }));
      })`);
      expect(first).toBe('{"type":"connection_ack"}');
      await other.context().close();
    },
    PATIENCE_MS,
  );

  it('has asked no other host for anything, kept its own policy, and thrown nothing', () => {
    expect(faults).toEqual([]);
  });
});
