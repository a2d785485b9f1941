import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { randomUUID } from 'node:crypto';
import { systemClock } from '../../kernel/clock.ts';
import { createInvocationLog } from './invocation-log.ts';
import { parseInvokeRequest, parseTarget } from './invoke-request.ts';
import { createMemories, parseMemoryTarget } from './memories.ts';
import type { InvokerDeps } from './invoke.ts';
import { invokeAgent } from './invoke.ts';
import type { BedrockEmulator, BedrockEmulatorOptions } from './model.ts';
import { EMULATOR_CLOSED } from './playback.ts';
import { exceptionBody, SERVICE_ERRORS, ServiceError } from './service-error.ts';
import { createSessionStore } from './sessions.ts';

export type * from './model.ts';

const BODY_BYTES_MAX = 30 * 1024 * 1024;
const CHUNKS_PER_SECOND = 40;
/** Longer than any pause between two turns of a demo, so that a kept-alive connection is not closed under a client's request. */
const KEEP_ALIVE_MS = 65_000;

/**
 * Starts an HTTP server that speaks Bedrock's InvokeAgent, so that the real SDK client can be pointed at it.
 *
 * It checks no signature and keeps everything in memory: it is for the embedded stack and for tests. It honours knowledge-base
 * filters and, like Bedrock, searches every tenant's passages when a call comes without one.
 *
 * @throws the listening error, e.g. EADDRINUSE, if the port cannot be had.
 */
export const startBedrockEmulator = async (options: BedrockEmulatorOptions): Promise<BedrockEmulator> => {
  const { agents, passages, clock = systemClock, chunksPerSecond = CHUNKS_PER_SECOND, host = '127.0.0.1' } = options;
  if (!(chunksPerSecond > 0)) throw new RangeError('chunksPerSecond must be greater than 0');
  const freshDeps = (): InvokerDeps => ({
    agents,
    passages,
    clock,
    chunksPerSecond,
    sessions: createSessionStore(),
    log: createInvocationLog(),
    memories: createMemories(),
  });
  let deps = freshDeps();
  const closing = new AbortController();
  const server = createServer((request, response) => void handle(deps, request, response, closing.signal));
  server.keepAliveTimeout = KEEP_ALIVE_MS;
  // A client that breaks off while it sends is its own affair; without a listener Node would still try to answer it.
  server.on('clientError', (_error, socket) => socket.destroy());
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.port ?? 0, host, () => {
      server.off('error', reject);
      resolve();
    });
  });
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://${host.includes(':') ? `[${host}]` : host}:${port}`,
    served: () => deps.log.all(),
    memories: () => deps.memories.all(),
    reset() {
      deps = freshDeps();
    },
    close: () =>
      new Promise((resolve) => {
        closing.abort(EMULATOR_CLOSED);
        // The error of a second close() says only that the server is not running, which is what was asked for.
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
};

const handle = async (
  deps: InvokerDeps,
  request: IncomingMessage,
  response: ServerResponse,
  closing: AbortSignal,
): Promise<void> => {
  const hungUp = new AbortController();
  response.on('close', () => hungUp.abort());
  // A reset connection reaches these as 'error' before 'close'; without a listener it would end the process.
  request.on('error', () => hungUp.abort());
  response.on('error', () => hungUp.abort());
  try {
    await answer(deps, request, response, AbortSignal.any([hungUp.signal, closing]));
  } catch (error) {
    if (response.headersSent) response.destroy();
    else if (!response.destroyed) refuse(response, error);
  }
};

const answer = async (
  deps: InvokerDeps,
  request: IncomingMessage,
  response: ServerResponse,
  signal: AbortSignal,
): Promise<void> => {
  const body = await readBody(request);
  const memory = request.method === 'DELETE' ? parseMemoryTarget(request.url ?? '') : null;
  if (memory) {
    deps.memories.forget(memory);
    response.writeHead(202, { 'content-type': 'application/json', 'x-amzn-requestid': randomUUID() }).end('{}');
    return;
  }
  const target = request.method === 'POST' ? parseTarget(request.url ?? '') : null;
  if (!target) return reply(response, 404, 'UnknownOperationException', { message: 'no such operation' });
  if (body === null)
    return reply(response, 413, 'RequestEntityTooLargeException', { message: 'the body exceeds 30 MB' });
  await invokeAgent(deps, { target, request: parseInvokeRequest(body), response, signal });
};

/** The whole body, or null if it is too large: the rest is then read and dropped, so that the client can hear the refusal. */
const readBody = async (request: IncomingMessage): Promise<string | null> => {
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const part of request as AsyncIterable<Buffer>) {
    bytes += part.length;
    if (bytes > BODY_BYTES_MAX) parts.length = 0;
    else parts.push(part);
  }
  return bytes > BODY_BYTES_MAX ? null : Buffer.concat(parts).toString('utf8');
};

const refuse = (response: ServerResponse, error: unknown): void => {
  const { exception, message } =
    error instanceof ServiceError ? error : new ServiceError('InternalServerException', 'the emulator failed');
  reply(response, SERVICE_ERRORS[exception], exception, exceptionBody(exception, message));
};

const reply = (
  response: ServerResponse,
  status: number,
  errorType: string,
  body: Readonly<Record<string, string>>,
): void => {
  response.writeHead(status, {
    'content-type': 'application/json',
    'x-amzn-errortype': errorType,
    'x-amzn-requestid': response.getHeader('x-amzn-requestid') ?? randomUUID(),
  });
  response.end(JSON.stringify(body));
};
