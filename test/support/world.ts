import { createClient, type Client } from 'graphql-ws';
import WebSocket from 'ws';
import { readConfig, type Config } from '../../src/config.ts';
import { systemClock, type Clock } from '../../src/kernel/clock.ts';
import { start } from '../../src/main.ts';
import type { DynamoDbRequest } from '../../src/adapters/dynamodb/index.ts';
import { createLogger } from '../../src/server/log.ts';

type Json = Record<string, unknown>;

/** An answer over HTTP, with what tests look at most. */
export interface Answer {
  readonly status: number;
  // Tests say what they expect of the data; a wrong guess fails there.
  // eslint-disable-next-line @typescript-eslint/no-explicit-any
  readonly data: any;
  readonly errors: readonly { readonly message: string; readonly extensions: Json & { readonly code: string } }[];
  /** The first error's code. */
  readonly code: string | undefined;
  readonly headers: Headers;
}

/** Somebody who uses the API, with the credentials of one user, or without any. */
export interface Caller {
  readonly token: string | null;
  readonly headers: Readonly<Record<string, string>>;
  run(query: string, variables?: Json): Promise<Answer>;
  /** A WebSocket client of graphql-ws, with this caller's credentials. The world disposes of it at its end. */
  socket(): Client;
  /** Every `next` payload of an operation over a WebSocket, until it completes. */
  stream(
    query: string,
    variables?: Json,
  ): AsyncIterableIterator<{ data?: Json | null; errors?: readonly { extensions: Json }[] }>;
  createConversation(title?: string): Promise<string>;
  /** Sends and waits for the end. */
  ask(conversationId: string, content: string, extra?: Json): Promise<Answer>;
  /** The same caller with more headers. */
  with(headers: Readonly<Record<string, string>>): Caller;
}

export interface WorldOptions {
  readonly clock?: Clock;
  readonly config?: Partial<Config>;
}

export type World = Awaited<ReturnType<typeof startWorld>>;

const SIGN_IN = `mutation($input: SignInInput!) { signIn(input: $input) { accessToken refreshToken viewer { id } } }`;

/** The configuration of tests: everything in memory, any port, no pauses between the chunks of an answer, nor before retries. */
export function testConfig(overrides: Partial<Config> = {}): Config {
  const ports = { PORT: '0', ADMIN_PORT: '0' };
  const config = readConfig({ ...ports, DATA_DIR: ':memory:', LOG_LEVEL: 'silent', SHUTDOWN_GRACE_MS: '2000' });
  return {
    ...config,
    bedrock: { kind: 'emulated', chunksPerSecond: Infinity },
    streamCoalesceMs: 0,
    agentLimits: { ...config.agentLimits, retryBaseMs: 1 },
    ...overrides,
  };
}

/** The least there is: what it costs to find a password out is not what most tests are about. */
export const CHEAP_HASHES = { memory: 8, passes: 1, parallelism: 1 };

/** The whole product on a port of its own, with the demo tenants and a caller for each of their users. */
export async function startWorld({ clock = systemClock, config = {} }: WorldOptions = {}) {
  const requests: DynamoDbRequest[] = [];
  const auditRequests: DynamoDbRequest[] = [];
  const settings = testConfig(config);
  const product = await start(settings, {
    clock,
    log: createLogger(settings.logLevel),
    passwordCost: CHEAP_HASHES,
    // What is recorded of an operation is stored beside it, at some time or other.
    onDynamoDbRequest: (request) => (request.table.endsWith('audit') ? auditRequests : requests).push(request),
  });
  const sockets: Client[] = [];

  function caller(token: string | null, more: Readonly<Record<string, string>> = {}): Caller {
    const headers = { ...(token !== null && { authorization: `Bearer ${token}` }), ...more };

    async function run(query: string, variables: Json = {}): Promise<Answer> {
      const response = await fetch(`${product.url}/graphql`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...headers },
        body: JSON.stringify({ query, variables }),
      });
      const body = (await response.json()) as { data?: unknown; errors?: Answer['errors'] };
      const errors = body.errors ?? [];
      return {
        status: response.status,
        data: body.data,
        errors,
        code: errors[0]?.extensions.code,
        headers: response.headers,
      };
    }

    function socket() {
      const client = createClient({
        url: `${product.url.replace('http', 'ws')}/graphql`,
        webSocketImpl: WebSocket,
        retryAttempts: 0,
        connectionParams: headers,
      });
      sockets.push(client);
      return client;
    }

    return {
      token,
      headers,
      run,
      socket,
      stream: (query, variables = {}) => socket().iterate({ query, variables }) as ReturnType<Caller['stream']>,
      async createConversation(title = 'A conversation') {
        const query = `mutation($input: CreateConversationInput!) { createConversation(input: $input) { conversation { id } } }`;
        const { data } = await run(query, { input: { title } });
        return (data as { createConversation: { conversation: { id: string } } }).createConversation.conversation.id;
      },
      ask: (conversationId, content, extra = {}) =>
        run(SEND, { input: { conversationId, content, waitForCompletion: true, ...extra } }),
      with: (added) => caller(token, { ...more, ...added }),
    };
  }

  const nobody = caller(null);

  /** The program of a partner, with an API key of its own. It may send what it likes, unless the test says otherwise. */
  async function createPartner(admin: Caller, input: Json = {}) {
    const query = `mutation($input: CreateApiKeyInput!) { createApiKey(input: $input) { apiKey { id } secret } }`;
    const { data } = await admin.run(query, { input: { name: 'Shop', enforcement: 'LOG_ONLY', ...input } });
    const { apiKey, secret } = (data as { createApiKey: { apiKey: { id: string }; secret: string } }).createApiKey;
    return { ...caller(null, { 'x-api-key': secret }), id: apiKey.id, secret };
  }

  async function signIn(
    tenant: string,
    email: string,
  ): Promise<Caller & { readonly id: string; readonly refreshToken: string }> {
    const { data } = await nobody.run(SIGN_IN, { input: { tenant, email, password: settings.demoPassword } });
    const session = (data as { signIn: { accessToken: string; refreshToken: string; viewer: { id: string } } }).signIn;
    return { ...caller(session.accessToken), id: session.viewer.id, refreshToken: session.refreshToken };
  }

  const [acmeAdmin, acmeMember, globexAdmin, globexMember, operator] = await Promise.all([
    signIn('acme', 'admin@acme.example'),
    signIn('acme', 'member@acme.example'),
    signIn('globex', 'admin@globex.example'),
    signIn('globex', 'member@globex.example'),
    signIn('platform', 'operator@platform.example'),
  ]);

  return {
    url: product.url,
    wsUrl: `${product.url.replace('http', 'ws')}/graphql`,
    product,
    config: settings,
    clock,
    nobody,
    caller,
    signIn,
    acme: { admin: acmeAdmin, member: acmeMember },
    globex: { admin: globexAdmin, member: globexMember },
    operator,
    createPartner,
    /** The requests to DynamoDB that this work makes. */
    async requestsOf(work: () => Promise<unknown>): Promise<DynamoDbRequest[]> {
      const before = requests.length;
      await work();
      return requests.slice(before);
    },
    requests,
    auditRequests,
    async stop() {
      for (const client of sockets) await client.dispose();
      await product.stop();
    },
  };
}

/** Everything of a turn that tests look at. */
export const SEND = `mutation($input: SendMessageInput!) {
  sendMessage(input: $input) {
    userMessage { id role status content }
    assistantMessage { ...Answer }
    conversation { id messageCount version }
  }
}
fragment Answer on Message {
  id role status content createdAt completedAt agent { id }
  citations { text source title }
  error { code message retryable retryAfterMs }
  usage { inputTokens outputTokens totalTokens latencyMs modelId estimated }
}`;

/** Everything an answer's stream shows. */
export const STREAM = `subscription($messageId: ID!, $after: Int) {
  messageStream(messageId: $messageId, after: $after) {
    __typename sequence messageId
    ... on MessageQueued { position }
    ... on MessageDelta { text }
    ... on MessageCitation { citation { text source title } }
    ... on MessageCompleted { message { id status content usage { totalTokens } } }
    ... on MessageFailed { message { id status content error { code retryable } } }
    ... on MessageCancelled { message { id status content } }
  }
}`;
