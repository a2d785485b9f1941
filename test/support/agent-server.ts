import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { EventStreamCodec } from '@smithy/core/event-streams';

type Json = Readonly<Record<string, unknown>>;

const codec = new EventStreamCodec(
  (bytes) => (typeof bytes === 'string' ? bytes : Buffer.from(bytes).toString('utf8')),
  (text) => Buffer.from(text, 'utf8'),
);

function frame(headers: Readonly<Record<string, string>>, body: Json): Uint8Array {
  const all = Object.entries({ ':content-type': 'application/json', ...headers });
  return codec.encode({
    headers: Object.fromEntries(all.map(([name, value]) => [name, { type: 'string' as const, value }])),
    body: Buffer.from(JSON.stringify(body)),
  });
}

export const eventFrame = (type: string, body: Json): Uint8Array =>
  frame({ ':message-type': 'event', ':event-type': type }, body);

/** `name` as it is on the wire: with a small first letter. */
export const exceptionFrame = (name: string, body: Json = { message: 'emulated' }): Uint8Array =>
  frame({ ':message-type': 'exception', ':exception-type': name }, body);

export const errorFrame = (code: string): Uint8Array =>
  frame({ ':message-type': 'error', ':error-code': code, ':error-message': 'emulated' }, {});

export const chunkFrame = (text: string | Uint8Array, citations?: readonly Json[]): Uint8Array =>
  eventFrame('chunk', {
    bytes: Buffer.from(text as string).toString('base64'),
    ...(citations && { attribution: { citations } }),
  });

export const traceFrame = (trace: Json, more: Json = {}): Uint8Array =>
  eventFrame('trace', { agentId: 'AGENT', agentAliasId: 'ALIAS', sessionId: 'x', trace, ...more });

/** One InvokeAgent call as the server met it. */
export interface AgentCall {
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, unknown>>;
  /** As JSON. */
  // eslint-disable-next-line @typescript-eslint/no-explicit-any
  readonly body: any;
  /** Resolves when the connection of the call is closed. */
  readonly closed: Promise<void>;
}

export interface AgentStream {
  readonly response: ServerResponse;
  /** Begins the stream, and sends these frames; resolves once they are with the socket. */
  send: (...frames: readonly Uint8Array[]) => Promise<void>;
}

export type AgentScript = (stream: AgentStream, call: AgentCall) => Promise<void> | void;

/** An agent that does what a test tells it, on the wire. */
export async function startAgentServer() {
  const calls: AgentCall[] = [];
  const script: { current: AgentScript } = { current: ({ response }) => void response.end() };

  const server = createServer((request, response) => {
    const closed = new Promise<void>((resolve) => response.on('close', resolve));
    request.on('error', () => undefined);
    response.on('error', () => undefined);
    let raw = '';
    request.on('data', (data: Buffer) => (raw += data.toString()));
    request.on('end', () => {
      const call = {
        method: request.method ?? '',
        path: request.url ?? '',
        headers: request.headers,
        body: JSON.parse(raw || '{}') as unknown,
        closed,
      };
      calls.push(call);
      const stream: AgentStream = {
        response,
        async send(...frames) {
          if (!response.headersSent) {
            response.writeHead(200, {
              'content-type': 'application/vnd.amazon.eventstream',
              'x-amzn-bedrock-agent-content-type': 'application/json',
              'x-amz-bedrock-agent-session-id': 'x',
              'x-amzn-requestid': 'request-1',
            });
            response.flushHeaders();
          }
          for (const bytes of frames) await new Promise<void>((resolve) => response.write(bytes, () => resolve()));
        },
      };
      void Promise.resolve(script.current(stream, call)).catch(() => response.destroy());
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));

  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    calls,
    /** What the next calls meet. */
    play(next: AgentScript) {
      script.current = next;
    },
    /** The next calls meet these frames and then the end. */
    answer(...frames: readonly Uint8Array[]) {
      script.current = async ({ send, response }) => {
        await send(...frames);
        response.end();
      };
    },
    refuse(status: number, name: string | null, body = '{"message":"emulated"}') {
      script.current = ({ response }) => {
        response.writeHead(status, { 'content-type': 'application/json', ...(name && { 'x-amzn-errortype': name }) });
        response.end(body);
      };
    },
    close: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

export type AgentServer = Awaited<ReturnType<typeof startAgentServer>>;
