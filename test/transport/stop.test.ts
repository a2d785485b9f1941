import { afterEach, describe, expect, it } from 'vitest';
import type { Config } from '../../src/config.ts';
import { start } from '../../src/main.ts';
import { createTestClock, settle } from '../support/clock.ts';
import { captureLog } from '../support/log-capture.ts';
import { dataFolder } from '../support/product-process.ts';
import { rawHttp } from '../support/raw-http.ts';
import { openSocket } from '../support/raw-socket.ts';
import { signInAt } from '../support/remote-caller.ts';
import { testConfig } from '../support/world.ts';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

const GRACE_MS = 10_000;
const ENDLESS = '[[emulate chunks=100 delayMs=600000]] hello';

/** The product on a clock that stands still: what takes time while it stops waits for the test. */
async function startProduct(config: Partial<Config> = {}) {
  const clock = createTestClock();
  const { log, text } = captureLog();
  const settings = { ...testConfig({ shutdownGraceMs: GRACE_MS, ...config }) };
  const product = await start(settings, { clock, log });
  let stopped = false;
  let stopping: Promise<void> | null = null;
  const stop = () => (stopping ??= product.stop().finally(() => (stopped = true)));
  /** Moves the clock until everything has stopped; slowly, for the store takes real time to write how a turn ended. */
  const stopWholly = async () => {
    void stop();
    for (let step = 0; step < 100 && !stopped; step++) {
      await clock.advance(step === 0 ? GRACE_MS : 500);
      for (let wait = 0; wait < 100 && !stopped; wait++) await settle(100);
    }
    await stopping;
  };
  cleanups.push(stopWholly);
  return { ...product, clock, stop, stopWholly, stopped: () => stopped, logText: text };
}

describe('while a turn is given its time to end', () => {
  it('/readyz says 503, so that no more callers are sent here, /livez 200; the turn can be read and cancelled', async () => {
    const product = await startProduct();
    const member = await signInAt(product.url);
    const conversationId = await member.createConversation();
    const { assistantMessage } = await member.send(conversationId, ENDLESS);
    const http = rawHttp(product.url);
    expect(await http.get('/readyz')).toMatchObject({ status: 200 });
    void product.stop();
    expect(await http.get('/readyz')).toMatchObject({ status: 503, body: { status: 'unavailable' } });
    expect(product.logText()).toContain('"reason":"draining"');
    expect(product.logText()).not.toMatch(/"stack"|\.ts:\d/);
    expect(await rawHttp(product.adminUrl).get('/readyz')).toMatchObject({ status: 503 });
    expect(await http.get('/livez')).toMatchObject({ status: 200 });
    expect(await member.message(assistantMessage.id)).toMatchObject({ status: 'STREAMING' });
    const cancel = 'mutation($input: CancelMessageInput!) { cancelMessage(input: $input) { message { status } } }';
    const { cancelMessage } = await member.run(cancel, { input: { messageId: assistantMessage.id } });
    expect(cancelMessage.message.status).toBe('CANCELLED');
    await product.stopWholly();
  });

  it('its reader is told how it ended before the socket is closed', async () => {
    const product = await startProduct();
    const member = await signInAt(product.url);
    const conversationId = await member.createConversation();
    const { assistantMessage } = await member.send(conversationId, ENDLESS);
    const first = Promise.withResolvers<void>();
    const reading = member.follow(assistantMessage.id, () => first.resolve());
    await first.promise;
    await product.stopWholly();
    const { events, completed } = await reading;
    expect(events.at(-1)).toMatchObject({ __typename: 'MessageFailed', message: { error: { code: 'INTERRUPTED' } } });
    expect(completed).toBe(true);
  });
});

describe('a message sent while the server stops is refused, or its turn is ended: it is never left behind', () => {
  /** What became of the turn, seen by the next start on the same folder, before any lease has run out. */
  async function statusAfterRestart(dataDir: string, messageId: string | null) {
    if (messageId === null) return 'refused';
    const next = await startProduct({ dataDir });
    const member = await signInAt(next.url);
    return (await member.message(messageId))?.status;
  }

  it('while another turn is given its time', async () => {
    const { path: dataDir, remove } = dataFolder();
    cleanups.push(remove);
    const product = await startProduct({ dataDir });
    const member = await signInAt(product.url);
    await member.send(await member.createConversation(), ENDLESS);
    const another = await member.createConversation();
    void product.stop();
    const late = await member.send(another, ENDLESS).catch(() => null);
    await product.stopWholly();
    expect(await statusAfterRestart(dataDir, late?.assistantMessage.id ?? null)).toMatch(/^(refused|FAILED)$/);
  });

  it('while sockets are given their time to say goodbye', async () => {
    const { path: dataDir, remove } = dataFolder();
    cleanups.push(remove);
    const product = await startProduct({ dataDir });
    const member = await signInAt(product.url);
    const conversationId = await member.createConversation();
    const frozen = await openSocket(`${product.url.replace('http', 'ws')}/graphql`);
    await frozen.init();
    (frozen.socket as unknown as { _socket: { pause(): void } })._socket.pause();
    cleanups.push(() => frozen.socket.terminate());
    void product.stop();
    await settle(200); // no turn is running: the sockets are asked to go
    const late = await member.send(conversationId, ENDLESS).catch(() => null);
    await product.stopWholly();
    expect(await statusAfterRestart(dataDir, late?.assistantMessage.id ?? null)).toMatch(/^(refused|FAILED)$/);
  });
});

it('no socket is opened any more once it stops', async () => {
  const product = await startProduct();
  const url = `${product.url.replace('http', 'ws')}/graphql`;
  const frozen = await openSocket(url);
  await frozen.init();
  (frozen.socket as unknown as { _socket: { pause(): void } })._socket.pause();
  cleanups.push(() => frozen.socket.terminate());
  void product.stop();
  await settle(200);
  await expect(openSocket(url)).rejects.toThrow(/503|ECONNREFUSED/);
});
