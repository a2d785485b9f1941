import type { IncomingMessage, Server, ServerResponse } from 'node:http';

type Handler = (request: IncomingMessage, response: ServerResponse) => void;

/**
 * Keeps one bad request from ending the engine, and lets a closing server end as soon as its last answer is sent.
 *
 * dynalite rethrows a request's 'error' event, so a client that vanishes half way through a body kills the process;
 * here that client's connection is dropped and nothing else happens. Its validations also throw a TypeError on JSON
 * of an unforeseen shape (the body `null`); nothing has been locked or written by then, so the answer is a 400.
 * Any other exception still ends the worker: its state is unknown, and a restart is the safe way on.
 */
export const guardRequests = (server: Server): void => {
  const [handle] = server.listeners('request') as Handler[];
  if (handle === undefined) throw new Error('dynalite registered no request handler');
  server.removeAllListeners('request');
  server.on('request', (request: IncomingMessage, response: ServerResponse) => {
    handle.call(server, request, response);
    request.removeAllListeners('error');
    request.on('error', () => response.destroy());
    refuseWhatThrows(request, response);
    response.on('close', () => {
      // Node closes idle connections once, when close() is called; one that was busy then would linger for seconds.
      if (!server.listening) setImmediate(() => server.closeIdleConnections());
    });
  });
};

const refuseWhatThrows = (request: IncomingMessage, response: ServerResponse): void => {
  const answer = request.listeners('end') as (() => void)[];
  request.removeAllListeners('end');
  request.on('end', () => {
    try {
      for (const listener of answer) listener.call(request);
    } catch (error) {
      if (!(error instanceof TypeError) || response.headersSent) throw error;
      request.removeAllListeners();
      response.writeHead(400, { 'Content-Type': 'application/x-amz-json-1.0' });
      response.end('{"__type":"com.amazon.coral.service#SerializationException"}');
    }
  });
};
