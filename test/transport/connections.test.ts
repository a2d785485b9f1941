import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { get } from 'node:https';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readConfig } from '../../src/config.ts';
import { openSocket } from '../support/raw-socket.ts';
import { selfSigned } from '../support/self-signed.ts';
import { startSmallApi } from '../support/small-api.ts';

const SCHEMA = {
  typeDefs: 'type Query { hello: String, long: String }',
  resolvers: { Query: { hello: () => 'hello', long: () => 'x'.repeat(32 * 1024 * 1024) } },
};

type Api = Awaited<ReturnType<typeof startSmallApi>>;

describe('with a certificate', () => {
  const own = selfSigned('localhost');
  let api: Api;
  beforeAll(async () => {
    api = await startSmallApi({ ...SCHEMA, tls: own });
  });
  afterAll(() => api.stop());

  it('HTTP and WebSockets are encrypted, and browsers are told to come back by TLS alone', async () => {
    expect(api.url).toMatch(/^https:/);
    const trusting = { ca: own.cert, servername: 'localhost' };
    const [answer] = await once(get(`${api.url}/livez`, { ...trusting, agent: false }), 'response');
    expect(answer.statusCode).toBe(200);
    expect(answer.headers['strict-transport-security']).toBe('max-age=31536000');
    answer.resume();
    const socket = await openSocket(api.wsUrl, 'graphql-transport-ws', trusting);
    await socket.init();
    socket.subscribe('1', '{ hello }');
    expect((await socket.next()).payload.data).toEqual({ hello: 'hello' });
    socket.socket.close();
  });

  it('plain HTTP is not answered', async () => {
    await expect(fetch(`${api.url.replace('https', 'http')}/livez`)).rejects.toThrow();
  });
});

describe('TLS_CERT_FILE and TLS_KEY_FILE', () => {
  const folder = mkdtempSync(join(tmpdir(), 'bedrock-graphql-'));
  afterAll(() => rmSync(folder, { recursive: true }));
  const { cert, key } = selfSigned('localhost');
  const file = (name: string, text: string) => {
    writeFileSync(join(folder, name), text);
    return join(folder, name);
  };
  const files = { TLS_CERT_FILE: file('cert', cert), TLS_KEY_FILE: file('key', key) };

  it('are read together', () => {
    expect(readConfig(files).tls).toEqual({ cert, key });
    expect(readConfig({}).tls).toBeNull();
  });

  it.each([
    ['one alone', { TLS_CERT_FILE: files.TLS_CERT_FILE }],
    ['a file that is not there', { ...files, TLS_KEY_FILE: join(folder, 'nothing') }],
    ['the key of another certificate', { ...files, TLS_KEY_FILE: file('other', selfSigned('localhost').key) }],
    ['nonsense', { ...files, TLS_CERT_FILE: file('nonsense', 'nonsense') }],
  ])('are refused before anything is served: %s', (_name, env) => {
    expect(() => readConfig(env)).toThrow(/TLS_CERT_FILE: /);
    expect(() => readConfig(env)).not.toThrow(/PRIVATE KEY/);
  });
});

describe('a client that takes its time', () => {
  let api: Api;
  beforeAll(async () => {
    api = await startSmallApi({
      ...SCHEMA,
      patience: { headersMs: 100, requestMs: 200, unreadMs: 200, checkEveryMs: 20 },
    });
  });
  afterAll(() => api.stop());

  it.each([
    ['for its headers', 'POST /graphql HTTP/1.1\r\nhost: x\r\n'],
    [
      'for its body',
      'POST /graphql HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{',
    ],
  ])('%s is told 408, and its connection is closed', async (_name, beginning) => {
    const { hostname, port } = new URL(api.url);
    const socket = connect(Number(port), hostname);
    let heard = '';
    socket.on('data', (data) => (heard += data.toString('latin1')));
    socket.write(beginning);
    await once(socket, 'close');
    expect(heard).toMatch(/^HTTP\/1.1 408 /);
  });

  it('to read its answer is cut off, and the answer waits in memory no longer', async () => {
    const { hostname, port } = new URL(api.url);
    const socket = connect(Number(port), hostname).pause();
    socket.write('GET /graphql?query=%7Blong%7D HTTP/1.1\r\nhost: x\r\napollo-require-preflight: 1\r\n\r\n');
    const [served] = (await once(api.server, 'connection')) as [Socket];
    await once(served, 'close');
    expect(served.bytesWritten).toBeGreaterThan(32 * 1024 * 1024);
    socket.destroy();
  });

  it('harms nobody else', async () => {
    const answer = await fetch(`${api.url}/graphql`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{"query":"{ hello }"}',
    });
    expect(await answer.json()).toMatchObject({ data: { hello: 'hello' } });
  });
});

it('headers of more than 16 KB are refused (431), and the server lives on', async () => {
  const api = await startSmallApi(SCHEMA);
  expect((await fetch(`${api.url}/livez`, { headers: { 'x-much': 'x'.repeat(17_000) } })).status).toBe(431);
  expect((await fetch(`${api.url}/livez`, { headers: { 'x-much': 'x'.repeat(15_000) } })).status).toBe(200);
  await api.stop();
});
