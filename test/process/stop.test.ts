import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { openSocket } from '../support/raw-socket.ts';
import { dataFolder, startProduct, type ProductProcess } from '../support/product-process.ts';
import { signInAt } from '../support/remote-caller.ts';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

function run(settings: Readonly<Record<string, string>> = {}): ProductProcess & { readonly dataDir: string } {
  const { path, remove } = dataFolder();
  const dataDir = settings['DATA_DIR'] ?? path;
  const product = startProduct({ DATA_DIR: dataDir, ...settings });
  cleanups.push(remove, () => product.destroy());
  return { ...product, dataDir };
}

const CLEAN = { code: 0, signal: null };

describe.each(['SIGTERM', 'SIGINT'] as const)('%s during a turn', (signal) => {
  it('the reader sees the end of its answer, the socket is told to come back (1012), and the process exits 0', async () => {
    const product = run({ SHUTDOWN_GRACE_MS: '20000' });
    const url = await product.url;
    const member = await signInAt(url);
    const conversationId = await member.createConversation();
    const { assistantMessage } = await member.send(conversationId, '[[emulate chunks=20 delayMs=50]] hello');

    const idle = await openSocket(`${url.replace('http', 'ws')}/graphql`);
    await idle.init({ authorization: `Bearer ${member.token}` });
    let signalled = false;
    const { events, completed } = await member.follow(assistantMessage.id, () => {
      if (!signalled) product.kill(signal); // in the middle of it
      signalled = true;
    });
    expect(completed).toBe(true);
    expect(events.length).toBeGreaterThan(10);
    expect(events.map(({ sequence }) => sequence)).toEqual(events.map((_event, index) => index + 1));
    const text = events.map((event) => event.text ?? '').join('');
    expect(events.at(-1)).toMatchObject({
      __typename: 'MessageCompleted',
      message: { status: 'COMPLETED', content: text },
    });
    expect(await idle.closed).toMatchObject({ code: 1012 });
    expect(await product.exit).toEqual(CLEAN);
    expect(product.errors()).toBe('');
  });
});

it('SIGTERM with a turn longer than SHUTDOWN_GRACE_MS: FAILED (INTERRUPTED) with the text so far, told and kept', async () => {
  const first = run({ SHUTDOWN_GRACE_MS: '300' });
  const member = await signInAt(await first.url);
  const conversationId = await member.createConversation();
  const { assistantMessage } = await member.send(conversationId, '[[emulate chunks=10 stall=true after=4]] hello');
  const { events, completed } = await member.follow(assistantMessage.id, ({ sequence }) => {
    if (sequence === 1) first.kill('SIGTERM');
  });
  expect(await first.exit).toEqual(CLEAN);
  expect(completed).toBe(true);
  const text = events.map((event) => event.text ?? '').join('');
  expect(text).not.toBe('');
  const interrupted = { status: 'FAILED', content: text, error: { code: 'INTERRUPTED' } };
  expect(events.at(-1)).toMatchObject({ __typename: 'MessageFailed', message: interrupted });

  const second = run({ DATA_DIR: first.dataDir, EMULATOR_CHUNKS_PER_SECOND: '100000' });
  const again = await signInAt(await second.url);
  expect(await again.message(assistantMessage.id)).toMatchObject({
    status: 'FAILED',
    content: text,
    error: { code: 'INTERRUPTED', retryable: true },
  });
  // The conversation is free for the next turn.
  const next = await again.send(conversationId, 'and now?', { waitForCompletion: true });
  expect(next.assistantMessage.status).toBe('COMPLETED');
});

it('SIGTERM with SHUTDOWN_GRACE_MS=0: the turn is ended as INTERRUPTED too', async () => {
  const first = run({ SHUTDOWN_GRACE_MS: '0' });
  const member = await signInAt(await first.url);
  const conversationId = await member.createConversation();
  const { assistantMessage } = await member.send(conversationId, '[[emulate stall=true after=1]] hello');
  first.kill('SIGTERM');
  expect(await first.exit).toEqual(CLEAN);
  const second = run({ DATA_DIR: first.dataDir });
  const again = await signInAt(await second.url);
  expect(await again.message(assistantMessage.id)).toMatchObject({ status: 'FAILED', error: { code: 'INTERRUPTED' } });
});

it('a caller who waits for an answer gets it before the process ends', async () => {
  const product = run({ SHUTDOWN_GRACE_MS: '20000' });
  const member = await signInAt(await product.url);
  const conversationId = await member.createConversation();
  const content = '[[emulate chunks=20 delayMs=50]] hello';
  const { assistantMessage } = await member.send(conversationId, content, { idempotencyKey: 'k' });
  const waiting = member.send(conversationId, content, { idempotencyKey: 'k', waitForCompletion: true });
  await member.follow(assistantMessage.id, ({ sequence }) => {
    if (sequence === 5) product.kill('SIGTERM');
  });
  expect((await waiting).assistantMessage).toMatchObject({ id: assistantMessage.id, status: 'COMPLETED' });
  expect(await product.exit).toEqual(CLEAN);
});

it('what clients leave open does not keep the process from ending', async () => {
  const product = run({ SHUTDOWN_GRACE_MS: '1000' });
  const url = await product.url;
  const { hostname, port } = new URL(url);
  const begun = 'POST /graphql HTTP/1.1\r\nHost: x\r\nContent-';
  const leftOpen = {
    nothingSent: '',
    halfAHeader: `${begun}Le`,
    halfABody: `${begun}Type: application/json\r\nContent-Length: 100\r\n\r\n{"query"`,
    answered: 'GET /livez HTTP/1.1\r\nHost: x\r\n\r\n',
  };
  for (const text of Object.values(leftOpen)) {
    const socket = connect(Number(port), hostname);
    cleanups.push(() => socket.destroy());
    socket.on('error', () => {});
    await once(socket, 'connect');
    if (text) socket.write(text);
  }
  // A WebSocket that never answers the goodbye.
  const { socket, init } = await openSocket(`${url.replace('http', 'ws')}/graphql`);
  await init();
  (socket as unknown as { _socket: { pause(): void } })._socket.pause();
  cleanups.push(() => socket.terminate());
  // Whatever was sent has been taken in once a request that came after it was answered.
  await signInAt(url);
  product.kill('SIGTERM');
  expect(await product.exit).toEqual(CLEAN);
});

it.each([
  ['SIGTERM to npm', (product: ProductProcess) => product.kill('SIGTERM')],
  ['Ctrl-C in the terminal', (product: ProductProcess) => product.interrupt()],
])('%s stops the server that `npm start` started', async (_name, end) => {
  const { path, remove } = dataFolder();
  const product = startProduct({ DATA_DIR: path }, { by: 'npm' });
  cleanups.push(remove, () => product.destroy());
  await signInAt(await product.url);
  end(product);
  await product.exit; // nobody writes to its output any more
  expect(product.log().map(({ msg }) => msg)).toContain('stopping');
  expect(existsSync(join(path, 'engine.running'))).toBe(false); // its files were closed in good order
});

it('a signal that comes the moment it says that it listens stops it in good order', async () => {
  const product = run();
  await product.url;
  product.kill('SIGTERM');
  expect(await product.exit).toEqual(CLEAN);
});

it('a second signal ends it at once', async () => {
  const product = run({ SHUTDOWN_GRACE_MS: '600000' });
  const member = await signInAt(await product.url);
  const conversationId = await member.createConversation();
  await member.send(conversationId, '[[emulate stall=true after=1]] hello');
  product.kill('SIGTERM');
  await expect.poll(() => product.log().some(({ msg }) => msg === 'stopping')).toBe(true);
  product.kill('SIGTERM');
  expect(await product.exit).toEqual({ code: 1, signal: null });
});
