import { createServer as createTcpServer, type Server as TcpServer, type Socket } from 'node:net';
import { createServer, type IncomingMessage, type RequestListener } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it, test } from 'vitest';
import { isPublic } from '../../src/adapters/outbound/addresses.ts';
import { createWebhookSender, SEND_TIMEOUT_MS } from '../../src/adapters/webhook/sender.ts';
import { systemClock } from '../../src/kernel/clock.ts';
import { createTestClock } from '../support/clock.ts';
import { selfSigned } from '../support/self-signed.ts';

const NOT_PUBLIC = 'The host has no address on the public internet.';
const servers: TcpServer[] = [];
const sockets = new Set<Socket>();
afterEach(() => {
  for (const socket of sockets) socket.destroy();
  for (const server of servers.splice(0)) server.close();
});

async function listen<S extends TcpServer>(server: S, host = '127.0.0.1', port = 0): Promise<number> {
  servers.push(server);
  server.on('connection', (socket: Socket) => sockets.add(socket));
  await new Promise<void>((resolve) => server.listen(port, host, resolve));
  return (server.address() as AddressInfo).port;
}

interface Received {
  readonly request: IncomingMessage;
  readonly body: string;
}

/** A receiver on this machine that answers as told, and what it was sent. */
async function receiver(
  answer: RequestListener = (_request, response) => response.writeHead(204).end(),
  host?: string,
  port?: number,
) {
  const received: Received[] = [];
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      received.push({ request, body: Buffer.concat(chunks).toString() });
      answer(request, response);
    });
  });
  return { received, port: await listen(server, host, port) };
}

const MESSAGE = { headers: { 'webhook-id': 'alert-1', 'content-type': 'application/json' }, body: '{"ü":1}' };
const to = (url: string) => ({ ...MESSAGE, url });
const local = createWebhookSender({ loopback: true, clock: systemClock });

describe('a message', () => {
  it('arrives as it is, by POST, and any 2xx is success', async () => {
    const { received, port } = await receiver();
    expect(await local.send(to(`http://127.0.0.1:${port}/hook?a=b`))).toBeNull();
    const [{ request, body }] = received as [Received];
    expect([request.method, request.url, body]).toEqual(['POST', '/hook?a=b', MESSAGE.body]);
    expect(request.headers).toMatchObject({ ...MESSAGE.headers, 'content-length': '8', host: `127.0.0.1:${port}` });
  });

  it('is failed by any other answer; a redirect is not followed', async () => {
    const target = await receiver();
    const { port } = await receiver((_request, response) =>
      response.writeHead(307, { location: `http://127.0.0.1:${target.port}/` }).end(),
    );
    expect(await local.send(to(`http://127.0.0.1:${port}/`))).toBe('The receiver answered 307.');
    expect(target.received).toEqual([]);
    const broken = await receiver((_request, response) => response.writeHead(500).end('a secret of the receiver'));
    expect(await local.send(to(`http://127.0.0.1:${broken.port}/`))).toBe('The receiver answered 500.');
  });

  it('says so when nobody listens, or the connection is cut', async () => {
    const port = await listen(createTcpServer((socket) => socket.destroy()));
    expect(await local.send(to(`http://127.0.0.1:${port}/`))).toBe('The connection failed (ECONNRESET).');
    servers.pop()?.close();
    expect(await local.send(to(`http://127.0.0.1:${port}/`))).toBe('The connection failed (ECONNREFUSED).');
  });

  it('ignores the proxies of the environment', async () => {
    const [{ received, port }, proxy] = [await receiver(), await receiver()];
    const names = ['HTTP_PROXY', 'http_proxy', 'NODE_USE_ENV_PROXY'];
    for (const name of names)
      process.env[name] = name === 'NODE_USE_ENV_PROXY' ? '1' : `http://127.0.0.1:${proxy.port}`;
    try {
      expect(await local.send(to(`http://127.0.0.1:${port}/`))).toBeNull();
    } finally {
      for (const name of names) delete process.env[name];
    }
    expect([received.length, proxy.received.length]).toEqual([1, 0]);
  });
});

describe('a receiver that', () => {
  test.each<[string, (socket: Socket) => void]>([
    ['says nothing', () => undefined],
    ['writes the head of its answer byte by byte', (socket) => socket.write('HTTP/1.1 2')],
    ['sends one interim answer after the other', (socket) => socket.write('HTTP/1.1 103 Early Hints\r\n\r\n')],
  ])('%s is given up after 10 s', async (_what, behave) => {
    const clock = createTestClock();
    const connected = Promise.withResolvers<void>();
    const port = await listen(
      createTcpServer((socket) => {
        socket.on('error', () => undefined);
        behave(socket);
        connected.resolve();
      }),
    );
    const sending = createWebhookSender({ loopback: true, clock }).send(to(`http://127.0.0.1:${port}/`));
    await connected.promise;
    await clock.advance(SEND_TIMEOUT_MS);
    expect(await sending).toBe('The receiver did not answer within 10 s.');
    expect(clock.pending()).toBe(0);
  });

  it('answers without end is left at the head of its answer', async () => {
    const closed = Promise.withResolvers<number>();
    const { port } = await receiver((_request, response) => {
      let written = 0;
      const more = () => {
        while (!response.destroyed && response.write(Buffer.alloc(65_536))) written += 65_536;
      };
      response.writeHead(200);
      response.on('drain', more).on('close', () => closed.resolve(written));
      more();
    });
    expect(await local.send(to(`http://127.0.0.1:${port}/`))).toBeNull();
    expect(await closed.promise).toBeLessThan(16 * 2 ** 20); // what buffers of the system took
  });

  it('answers with a head without end is given up', async () => {
    const port = await listen(
      createTcpServer((socket) => {
        socket.on('error', () => undefined);
        socket.write(`HTTP/1.1 200 OK\r\nx: ${'x'.repeat(100_000)}`);
      }),
    );
    expect(await local.send(to(`http://127.0.0.1:${port}/`))).toBe('The connection failed (HPE_HEADER_OVERFLOW).');
  });

  it('has a name that is never looked up to the end is given up after 10 s', async () => {
    const clock = createTestClock();
    const sender = createWebhookSender({ loopback: true, clock, resolve: () => new Promise(() => undefined) });
    const sending = sender.send(to('https://hooks.test/'));
    await clock.advance(SEND_TIMEOUT_MS);
    expect(await sending).toBe('The receiver did not answer within 10 s.');
  });

  it('is being sent to when the server stops is left at once', async () => {
    const connected = Promise.withResolvers<void>();
    const port = await listen(createTcpServer(() => connected.resolve()));
    const stopping = new AbortController();
    const sending = local.send(to(`http://127.0.0.1:${port}/`), stopping.signal);
    await connected.promise;
    stopping.abort();
    expect(await sending).not.toBeNull();
  });
});

describe('an address', () => {
  test.each([
    ...['0.0.0.0', '0.1.2.3', '10.0.0.1', '100.64.0.1', '100.127.255.254', '127.0.0.1', '127.255.255.254'],
    ...['169.254.0.1', '169.254.169.254', '172.16.0.1', '172.31.255.255', '192.0.0.8', '192.0.2.1', '192.88.99.1'],
    ...['192.168.1.1', '198.18.0.1', '198.51.100.1', '203.0.113.1', '224.0.0.1', '239.255.255.255', '240.0.0.1'],
    ...[
      '255.255.255.255',
      '::',
      '::1',
      '::ffff:10.0.0.1',
      '::ffff:8.8.8.8',
      '::ffff:7f00:1',
      '::127.0.0.1',
      '::7f00:1',
    ],
    ...['64:ff9b::a00:1', '64:ff9b::808:808', '64:ff9b:1::a00:1', '100::1', '2001::1', '2001:db8::1', '2002:a00:1::1'],
    ...[
      '2002:7f00:1::',
      '3fff::1',
      '5f00::1',
      'fc00::1',
      'fd00:ec2::254',
      'fe80::1',
      'fe80::1%eth0',
      'fec0::1',
      'ff02::1',
    ],
    ...['', 'localhost', '1.2.3', '0x7f.1', '127.1', '1.2.3.4.5', 'hooks.example'],
  ])('%s is not public', (address) => {
    expect(isPublic(address)).toBe(false);
  });

  test.each([
    '1.1.1.1',
    '8.8.8.8',
    '100.63.255.255',
    '100.128.0.1',
    '172.32.0.1',
    '2606:4700::1111',
    '2a00:1450:4001::1',
  ])('%s is public', (address) => {
    expect(isPublic(address)).toBe(true);
  });

  const resolvingTo = (...addresses: string[]) =>
    createWebhookSender({ loopback: false, clock: systemClock, resolve: () => Promise.resolve(addresses) });

  test.each([
    ['private', ['10.0.0.1']],
    ['of cloud metadata', ['169.254.169.254']],
    ['this machine', ['127.0.0.1']],
    ['public, and one that is not', ['8.8.8.8', 'fd00:ec2::254']],
    ['missing', []],
  ])('is refused after the look-up when it is %s', async (_what, addresses) => {
    expect(await resolvingTo(...addresses).send(to('https://hooks.test/'))).toBe(NOT_PUBLIC);
  });

  it('that cannot be looked up is refused in the same words: they do not tell what names there are inside', async () => {
    const resolve = () => Promise.reject(new Error('ENOTFOUND'));
    const sender = createWebhookSender({ loopback: false, clock: systemClock, resolve });
    expect(await sender.send(to('https://hooks.test/'))).toBe(NOT_PUBLIC);
  });

  test.each([
    'https://10.0.0.1/',
    'https://[::1]/',
    'https://[::ffff:127.0.0.1]/',
    'https://0x7f.1/',
    'https://2130706433/',
  ])('that is written out in %s is refused when it is set, and when it is sent to', async (url) => {
    const sender = createWebhookSender({ loopback: false, clock: systemClock });
    expect(sender.fault(new URL(url))).toBe(NOT_PUBLIC);
    expect(await sender.send(to(url))).toBe(NOT_PUBLIC);
  });

  it('that the name has when it was checked is the one connected to, whatever it is a moment later', async () => {
    const checked = await receiver();
    const rebound = await receiver(undefined, '127.0.0.2', checked.port);
    let lookups = 0;
    const resolve = () => Promise.resolve([lookups++ === 0 ? '127.0.0.1' : '127.0.0.2']);
    const sender = createWebhookSender({ loopback: true, clock: systemClock, resolve });
    expect(await sender.send(to(`http://hooks.test:${checked.port}/`))).toBeNull();
    expect([lookups, checked.received.length, rebound.received.length]).toEqual([1, 1, 0]);
    expect(checked.received[0]!.request.headers.host).toBe(`hooks.test:${checked.port}`);
  });

  it('of another machine is never sent to without TLS, and private ones not at all, where this machine is allowed', async () => {
    for (const address of ['8.8.8.8', '10.0.0.1', '192.168.0.1']) {
      const sender = createWebhookSender({
        loopback: true,
        clock: systemClock,
        resolve: () => Promise.resolve([address]),
      });
      expect(await sender.send(to('http://hooks.test:8080/'))).toBe(NOT_PUBLIC);
      if (address !== '8.8.8.8') expect(await sender.send(to('https://hooks.test/'))).toBe(NOT_PUBLIC);
    }
  });

  test.each([
    ['http://hooks.example/', 'https'],
    ['ftp://hooks.example/', 'https'],
    ['javascript:alert(1)', 'https'],
    ['https://user@hooks.example/', 'password'],
    ['https://user:word@hooks.example/', 'password'],
    ['https://hooks.example/#x', 'fragment'],
    ['https://hooks.example:22/', 'port'],
    ['https://hooks.example:80/', 'port'],
    ['https://hooks.example:0/', 'port'],
  ])('%s is refused when it is set', (url, why) => {
    for (const loopback of [true, false])
      expect(createWebhookSender({ loopback, clock: systemClock }).fault(new URL(url))).toContain(why);
  });

  it('of this machine may be set where that is allowed, also without TLS, and nowhere else', () => {
    const strict = createWebhookSender({ loopback: false, clock: systemClock });
    for (const url of ['http://127.0.0.1:8080/', 'http://localhost:8080/', 'http://[::1]:8080/']) {
      expect(local.fault(new URL(url))).toBeNull();
      expect(strict.fault(new URL(url))).not.toBeNull();
    }
    for (const url of ['http://127.0.0.1/', 'http://127.0.0.1:80/', 'http://localhost:25/'])
      expect(local.fault(new URL(url))).toContain('port');
    for (const url of ['https://hooks.example/x?y=z', 'https://hooks.example:8443/', 'https://8.8.8.8/'])
      expect([local, strict].map((sender) => sender.fault(new URL(url)))).toEqual([null, null]);
  });
});

describe('TLS', () => {
  const { key, cert } = selfSigned('hooks.test');
  const tlsReceiver = () =>
    listen(createTlsServer({ key, cert }, (_request, response) => response.writeHead(200).end()));
  const sender = (ca?: string) =>
    createWebhookSender({
      ...{ loopback: true, clock: systemClock, resolve: () => Promise.resolve(['127.0.0.1']) },
      ...(ca !== undefined && { ca }),
    });

  it('is checked against the name in the address, on the connection to the address that was checked', async () => {
    const port = await tlsReceiver();
    expect(await sender(cert).send(to(`https://hooks.test:${port}/`))).toBeNull();
    expect(await sender(cert).send(to(`https://other.test:${port}/`))).toBe(
      'The connection failed (ERR_TLS_CERT_ALTNAME_INVALID).',
    );
  });

  it('is refused for a certificate that nobody trusts', async () => {
    const port = await tlsReceiver();
    expect(await sender().send(to(`https://hooks.test:${port}/`))).toMatch(
      /^The connection failed \(\w*SELF_SIGNED\w*\)/,
    );
  });
});
