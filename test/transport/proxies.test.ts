import { afterEach, describe, expect, it } from 'vitest';
import WebSocket from 'ws';
import { startBoundApi } from '../support/bound-api.ts';

const QUERY = '{ tenant { id } }';
let stop = () => Promise.resolve();
afterEach(() => stop());

/** Where a request with this header comes from, as services are told, over HTTP and over a WebSocket. */
async function addressesSeen(trustedProxies: readonly string[], forwardedFor: string) {
  const seen: (string | null)[] = [];
  const api = await startBoundApi({
    trustedProxies,
    bindTenant({ ipAddress }) {
      seen.push(ipAddress);
      return Promise.reject(new Error('the address is all that is wanted'));
    },
  });
  stop = () => api.stop();
  const headers = { 'x-forwarded-for': forwardedFor };
  const authorization = 'Bearer anything';
  await fetch(`${api.url}/graphql`, {
    method: 'POST',
    headers: { ...headers, authorization, 'content-type': 'application/json' },
    body: JSON.stringify({ query: QUERY }),
  });
  const socket = new WebSocket(api.wsUrl, 'graphql-transport-ws', { headers });
  await new Promise((resolve) => socket.once('open', resolve));
  const answered = new Promise<void>((resolve) => {
    socket.on('message', (data: Buffer) => {
      const { type } = JSON.parse(data.toString()) as { type: string };
      if (type === 'connection_ack')
        socket.send(JSON.stringify({ type: 'subscribe', id: 'q', payload: { query: QUERY } }));
      else resolve();
    });
  });
  socket.send(JSON.stringify({ type: 'connection_init', payload: { authorization } }));
  await answered;
  socket.terminate();
  return seen;
}

describe('the address of a caller', () => {
  it('is that of the connection: what a caller says of itself is not believed', async () => {
    expect(await addressesSeen([], '203.0.113.7')).toEqual(['127.0.0.1', '127.0.0.1']);
  });

  it('is what a trusted proxy says, and no further than trusted proxies go', async () => {
    const trusted = ['127.0.0.0/8', '10.0.0.0/8'];
    const chain = '198.51.100.1, 203.0.113.7, 10.1.2.3'; // the first was written by the caller
    expect(await addressesSeen(trusted, chain)).toEqual(['203.0.113.7', '203.0.113.7']);
  });
});
