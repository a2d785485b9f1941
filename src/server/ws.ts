import { randomUUID } from 'node:crypto';
import type { IncomingMessage, Server } from 'node:http';
import type { Duplex } from 'node:stream';
import proxyAddress from '@fastify/proxy-addr';
import { GraphQLError, type ExecutionArgs, type ExecutionResult } from 'graphql';
import { CloseCode, handleProtocols, makeServer } from 'graphql-ws';
import { WebSocketServer, type WebSocket } from 'ws';
import type { Audit, AuditedAct, RequestContext } from '../context.ts';
import { sleep } from '../kernel/clock.ts';
import { AppError } from '../kernel/errors.ts';
import type { Logger } from './log.ts';
import { startRechecks } from './rechecks.ts';
import type { ContextBuilder, Sender } from './request-context.ts';
import { callerGone } from './operations/deadline.ts';
import type { SocketCounts } from './operations/socket-limits.ts';
import { foreignOrigin } from './origins.ts';
import { attachSocket } from './socket-adapter.ts';
import { createBacklogLimit } from './socket-backlog.ts';
import {
  createStreamedOperations,
  type OpenSubscription,
  type StreamedOperation,
  type StreamedOperationsOptions,
} from './streamed-operations.ts';

/** RFC 6455, 7.4.1 and its registry: the service restarts, so that clients come back by themselves. */
const SERVICE_RESTART = 1012;
/** The same: try again later, which they do. */
const TRY_AGAIN_LATER = 1013;
const FRAME_BYTES_MAX = 1024 * 1024;
const INIT_TIMEOUT_MS = 3_000;
/** How long a reader of a socket that ends may take to fetch the error that says so, before the socket is closed anyway. */
const END_GRACE_MS = 1_000;

export interface WsOptions extends Omit<StreamedOperationsOptions, 'transport'> {
  readonly server: Server;
  readonly contextOf: ContextBuilder;
  readonly audit: Audit;
  /** What a socket's reader may leave unread before the socket is closed. */
  readonly socketBacklogBytes: number;
  readonly trustedProxies: readonly string[];
  readonly socketCounts: SocketCounts;
  readonly log: Logger;
}

export interface WsServer {
  /** Takes no more sockets, asks the open ones to come back later, and ends those that have not gone after `graceMs`. */
  close(graceMs: number): Promise<void>;
  count(): number;
}

/** What is kept for a socket's life. */
interface SocketState {
  readonly socket: WebSocket;
  /** Whoever opened the socket: every operation on it gets a context of its own, made of this one. */
  readonly opener: RequestContext;
  /** The open subscriptions, by operation id, until the client has been told of their end. */
  readonly streams: Map<string, OpenSubscription>;
  /** Ends the looks at the credential, or what follows its end. */
  cancelTimer: () => void;
  ended: boolean;
}

interface SocketExtra {
  readonly socket: WebSocket;
  readonly request: IncomingMessage;
  state?: SocketState;
}

/** Aborts when the socket has closed. */
function goneSignal(socket: WebSocket): AbortSignal {
  const gone = new AbortController();
  socket.once('close', () => gone.abort(callerGone()));
  return gone.signal;
}

/** For the log: the socket is closing, so its client is not told. */
const nobodyReads = () => new GraphQLError('The socket is closing.', { extensions: { code: 'BAD_REQUEST' } });

const connectionRefused = (error: AppError): AuditedAct => ({
  ...{ action: 'connection.open', resource: 'connection', details: {} },
  ...{ principal: null, tenantId: null, named: null, error },
});

const text = (value: unknown): string | null => (typeof value === 'string' ? value : null);

type Trust = ReturnType<typeof proxyAddress.compile>;

/** The host that the client asked for: what a trusted proxy says it was, as for HTTP. */
function hostOf({ socket, headers }: IncomingMessage, trusts: Trust): string | undefined {
  const forwarded = text(headers['x-forwarded-host']);
  const proxied = forwarded !== null && socket.remoteAddress !== undefined && trusts(socket.remoteAddress, 0);
  return proxied ? forwarded.split(',').at(-1)?.trim() : headers.host;
}

/** Who opens a socket. The names in the payload are those of the HTTP headers, in any letter case. */
function senderOf(payload: Readonly<Record<string, unknown>>, request: IncomingMessage, trusts: Trust): Sender {
  const given = Object.fromEntries(Object.entries(payload).map(([name, value]) => [name.toLowerCase(), value]));
  return {
    authorization: text(given['authorization']),
    apiKey: text(given['x-api-key']),
    tenant: text(given['x-tenant-id']),
    requestId: randomUUID(),
    origin: foreignOrigin(request.headers.origin, hostOf(request, trusts)),
    ipAddress: proxyAddress(request, trusts),
    userAgent: request.headers['user-agent'] ?? null,
  };
}

/** GraphQL over a WebSocket (graphql-transport-ws), for every kind of operation, with the context, the guards and the masking of HTTP. */
export function createWsServer(wsOptions: WsOptions): WsServer {
  const { server, contextOf, audit, socketBacklogBytes, trustedProxies, socketCounts, log, ...options } = wsOptions;
  const { clock, renewed } = options;
  const sockets = new WebSocketServer({
    noServer: true,
    handleProtocols,
    maxPayload: FRAME_BYTES_MAX,
    perMessageDeflate: false,
  });
  const trusts = proxyAddress.compile([...trustedProxies]);
  const operations = createStreamedOperations({ ...options, transport: 'ws' });
  const states = new Map<WebSocket, SocketState>();
  const hasRoom = createBacklogLimit({ bytesMax: socketBacklogBytes, log, clock });
  /** Called when no subscription is open any more. */
  let onAllTold = () => {};
  let draining = false;

  const protocol = makeServer<Record<string, unknown>, SocketExtra>({
    connectionInitWaitTimeout: INIT_TIMEOUT_MS,
    // Refusing answers 4403, which clients retry: they fetch a fresh token and come again.
    async onConnect({ connectionParams, extra }) {
      const { socket } = extra;
      const opener = await contextOf(senderOf(connectionParams ?? {}, extra.request, trusts), goneSignal(socket));
      const { fault } = opener.identity;
      if (fault) {
        if (fault instanceof AppError) audit(opener, connectionRefused(fault));
        return false;
      }
      if (socket.readyState !== socket.OPEN) return false; // gone while it was looked at
      const leave = socketCounts.enter(opener);
      if (leave === null) {
        log.info({ tenantId: opener.identity.principal?.tenantId ?? null }, 'too many sockets');
        socket.close(TRY_AGAIN_LATER, 'Too many sockets');
        return false;
      }
      socket.once('close', leave);
      const state: SocketState = { socket, opener, streams: new Map(), cancelTimer: () => {}, ended: false };
      extra.state = state;
      states.set(socket, state);
      state.cancelTimer = startRechecks({ clock, log }, opener.identity.principal, () => recheck(state));
      return true;
    },
    onClose({ extra: { state, socket } }) {
      if (!state) return;
      state.cancelTimer();
      states.delete(socket);
      if (openStreams() === 0) onAllTold();
    },
    onSubscribe({ extra: { state, socket } }, id, payload) {
      if (!state) return [new GraphQLError('Send connection_init first.')]; // cannot be: graphql-ws closes such a socket
      if (!keepsUp(socket)) return [nobodyReads()];
      const onOpen = (subscription: OpenSubscription) => {
        state.streams.set(id, subscription);
        keepsUp(socket);
      };
      return operations.prepare(payload, { ...state.opener, requestId: randomUUID() }, onOpen);
    },
    execute: (args) => operations.execute(args as StreamedOperation),
    subscribe: (args: ExecutionArgs) => operations.subscribe(args as StreamedOperation) as never,
    onNext: (_context, _id, _payload, args, result) =>
      operations.shown(result as ExecutionResult, args as StreamedOperation),
    onError: ({ extra }, _id, { operationName }, errors) =>
      extra.state &&
      operations.refused(errors, { ...extra.state.opener, requestId: randomUUID() }, operationName ?? null),
    // Called before `complete` is sent: what follows from it has to wait until that is on its way.
    onComplete: ({ extra }, id) => void setImmediate(() => told(extra, id)),
  });

  /** Whether a socket can be sent more. Otherwise it is closing, and nothing more is executed for it. */
  function keepsUp(socket: WebSocket): boolean {
    if (hasRoom(socket)) return true;
    for (const stream of states.get(socket)?.streams.values() ?? []) stream.end();
    return false;
  }

  server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    socket.on('error', () => socket.destroy()); // a client that goes away while it knocks
    if (draining || request.url?.split('?')[0] !== '/graphql') {
      socket.end(`HTTP/1.1 ${draining ? '503 Service Unavailable' : '404 Not Found'}\r\nConnection: close\r\n\r\n`);
      return;
    }
    sockets.handleUpgrade(request, socket, head, (ws) =>
      attachSocket(protocol, { socket: ws, request }, { maySend: keepsUp, log }),
    );
  });

  function told(extra: SocketExtra, id: string) {
    if (!extra.state) return;
    extra.state.streams.delete(id);
    closeIfTold(extra.state);
    if (openStreams() === 0) onAllTold();
  }

  /** Whoever has opened a socket may stay while their credential counts, and each subscription while its guards let it pass. */
  async function recheck(state: SocketState) {
    const { fault } = (await renewed(state.opener)).identity;
    if (fault instanceof AppError) return end(state, fault);
    if (fault) throw fault; // it is asked again the next time, or with the next event
    await Promise.all([...state.streams.values()].map((stream) => stream.recheck()));
  }

  /** Every subscription is told why, and then the socket is closed, so that the client returns with a fresh credential. */
  function end(state: SocketState, refusal: AppError) {
    state.ended = true;
    state.cancelTimer();
    for (const stream of state.streams.values()) stream.refuse(refusal);
    state.cancelTimer = clock.after(END_GRACE_MS, () => close(state.socket));
    closeIfTold(state);
  }

  const openStreams = () => [...states.values()].reduce((sum, { streams }) => sum + streams.size, 0);

  return {
    async close(graceMs) {
      draining = true;
      // Answers that have just ended are still on their way to their readers.
      if (openStreams() > 0) {
        await Promise.race([new Promise<void>((resolve) => (onAllTold = resolve)), sleep(clock, graceMs)]);
      }
      for (const socket of sockets.clients) socket.close(SERVICE_RESTART, 'Service restart');
      const cancel = clock.after(graceMs, () => sockets.clients.forEach((socket) => socket.terminate()));
      await new Promise((resolve) => sockets.close(resolve));
      cancel();
    },
    count: () => sockets.clients.size,
  };
}

function closeIfTold(state: SocketState) {
  if (!state.ended || state.streams.size > 0) return;
  state.cancelTimer();
  close(state.socket);
}

const close = (socket: WebSocket) => socket.close(CloseCode.Forbidden, 'Token expired');
