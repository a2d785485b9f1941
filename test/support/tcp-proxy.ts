import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

/** A network between a client and the product that can fail in the ways networks do. */
export interface TcpProxy {
  /** Of the product, through this proxy. */
  readonly url: string;
  /** Connections so far. */
  connections(): number;
  /** Resolves once no connection is open. */
  idle(): Promise<void>;
  /** The next connections are each cut when they have carried so many bytes of answers, be it in the middle of a frame. */
  cutAfter(...bytes: number[]): void;
  /** Cuts every connection there is. */
  cut(): void;
  /** Carries nothing more on the connections there are, and closes none. */
  freeze(): void;
  /** Cuts the connection that carries the next answer, in place of the answer. */
  loseNextAnswer(): void;
  close(): Promise<void>;
}

export async function startTcpProxy(target: string): Promise<TcpProxy> {
  const { hostname, port } = new URL(target);
  const open = new Set<Socket>();
  const frozen = new WeakSet<Socket>();
  let count = 0;
  let losing = false;
  let limits: number[] = [];

  const server = createServer((client) => {
    count++;
    let left = limits.shift() ?? Infinity;
    const upstream = connect(Number(port), hostname);
    const pass = (from: Socket, to: Socket) => {
      open.add(from);
      from.on('error', () => {}); // `close` follows
      from.on('close', () => {
        open.delete(from);
        to.end();
      });
      from.on('data', (chunk: Buffer) => {
        if (from === upstream && losing) {
          losing = false;
          client.destroy();
        } else if (from === upstream && chunk.length > left) {
          client.end(chunk.subarray(0, left));
          upstream.destroy();
        } else if (!frozen.has(from)) {
          if (from === upstream) left -= chunk.length;
          to.write(chunk);
        }
      });
    };
    pass(client, upstream);
    pass(upstream, client);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    connections: () => count,
    async idle() {
      for (const socket of open) if (!socket.closed) await once(socket, 'close');
    },
    cutAfter: (...bytes) => void (limits = bytes),
    cut: () => open.forEach((socket) => socket.destroy()),
    freeze: () => open.forEach((socket) => frozen.add(socket)),
    loseNextAnswer: () => void (losing = true),
    async close() {
      const closed = once(server, 'close');
      server.close();
      open.forEach((socket) => socket.destroy());
      await closed;
    },
  };
}
