import { CloseCode, type Server } from 'graphql-ws';
import type { WebSocket } from 'ws';
import type { Logger } from './log.ts';

/** A socket that has not answered a ping when the next one is due is dropped. */
const KEEP_ALIVE_MS = 12_000;

export interface SocketHost {
  /** Asked before everything that is sent. */
  readonly maySend: (socket: WebSocket) => boolean;
  readonly log: Logger;
}

/**
 * Speaks graphql-transport-ws on a socket. In place of the adapter that graphql-ws brings, which sends to readers however slow they
 * are, and writes to the console what belongs into the log.
 */
export function attachSocket<Extra extends { readonly socket: WebSocket }>(
  server: Server<Extra>,
  extra: Extra,
  { maySend, log }: SocketHost,
): void {
  const { socket } = extra;
  const closed = server.opened(
    {
      protocol: socket.protocol,
      // Resolves once it is on its way, for only then a stream is asked for its next event. A write that fails ends the socket.
      send: (data) =>
        new Promise<void>((resolve) => (maySend(socket) ? socket.send(data, () => resolve()) : resolve())),
      close: (code, reason) => socket.close(code, reason),
      onMessage: (hear) =>
        socket.on('message', (data: Buffer) => {
          hear(data.toString('utf8')).catch((err: unknown) => {
            log.error({ err }, 'socket fault');
            socket.close(CloseCode.InternalServerError, 'Internal server error');
          });
        }),
    },
    extra,
  );
  socket.once('close', (code, reason) => void closed(code, reason.toString('utf8')));
  // ws closes the socket itself, with a code that says why.
  socket.on('error', (err) => log.info({ err }, 'socket error'));
  keepAlive(socket);
}

/** In the network's time, as ws itself and graphql-ws count it: no clock of a test makes an answer come faster. */
function keepAlive(socket: WebSocket) {
  let answered = true;
  const timer = setInterval(() => {
    if (!answered) return socket.terminate();
    answered = false;
    socket.ping();
  }, KEEP_ALIVE_MS);
  socket.on('pong', () => (answered = true));
  socket.once('close', () => clearInterval(timer));
}
