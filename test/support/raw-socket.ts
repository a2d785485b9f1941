import { createEventQueue } from '../../src/kernel/event-queue.ts';
import WebSocket from 'ws';

interface SocketMessage {
  readonly type: string;
  readonly id?: string;
  // What an operation answers is what tests are there to find out.
  // eslint-disable-next-line @typescript-eslint/no-explicit-any
  readonly payload?: any;
}

/** A WebSocket that says exactly what it is told to say, so also what no client would. */
export interface RawSocket {
  readonly socket: WebSocket;
  readonly send: (message: object | string | Buffer) => void;
  /** The next message; fails when the socket closes first. */
  readonly next: () => Promise<SocketMessage>;
  /** The messages until one of this type (it included). */
  readonly until: (type: string) => Promise<SocketMessage[]>;
  /** Why it was closed. */
  readonly closed: Promise<{ readonly code: number; readonly reason: string }>;
  /** Says `connection_init` and waits for the answer. */
  readonly init: (payload?: object) => Promise<SocketMessage>;
  readonly subscribe: (id: string, query: string, variables?: object) => void;
}

export async function openSocket(
  url: string,
  protocols: string | string[] = 'graphql-transport-ws',
  options: WebSocket.ClientOptions = {},
): Promise<RawSocket> {
  const socket = new WebSocket(url, protocols, options);
  const messages = createEventQueue<SocketMessage>({ onEnd: () => {} });
  socket.on('message', (data: Buffer) => messages.push(JSON.parse(data.toString('utf8')) as SocketMessage));
  const closed = new Promise<{ code: number; reason: string }>((resolve) => {
    socket.on('close', (code, reason) => {
      messages.end();
      resolve({ code, reason: reason.toString('utf8') });
    });
  });
  await new Promise((resolve, reject) => socket.once('open', resolve).once('error', reject));
  socket.on('error', () => {}); // a reset is an end like any other: `closed` tells of it

  const send: RawSocket['send'] = (message) =>
    socket.send(typeof message === 'string' || Buffer.isBuffer(message) ? message : JSON.stringify(message));

  async function next(): Promise<SocketMessage> {
    const { value } = await messages.next();
    if (value) return value;
    const { code, reason } = await closed;
    throw new Error(`the socket was closed: ${code} ${reason}`);
  }

  return {
    socket,
    send,
    next,
    closed,
    async until(type) {
      const found = [await next()];
      while (found.at(-1)?.type !== type) found.push(await next());
      return found;
    },
    init(payload = {}) {
      send({ type: 'connection_init', payload });
      return next();
    },
    subscribe: (id, query, variables = {}) => send({ type: 'subscribe', id, payload: { query, variables } }),
  };
}
