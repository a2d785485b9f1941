import { createClient } from 'graphql-ws';
import WebSocket from 'ws';

interface Body {
  // What it answers is what tests are there to find out.
  // eslint-disable-next-line @typescript-eslint/no-explicit-any
  readonly data: any;
  readonly errors?: readonly { readonly message: string; readonly extensions: { readonly code: string } }[];
}

/** Somebody who uses a product in another process. */
export interface RemoteCaller {
  readonly token: string;
  /** Fails on any error. */
  // eslint-disable-next-line @typescript-eslint/no-explicit-any
  run(query: string, variables?: object): Promise<any>;
  createConversation(title?: string): Promise<string>;
  send(
    conversationId: string,
    content: string,
    more?: object,
  ): Promise<{ userMessage: { id: string }; assistantMessage: { id: string; status: string; content: string } }>;
  message(
    id: string,
  ): Promise<{ content: string; status: string; error: { code: string; retryable: boolean } | null } | null>;
  /** Every event of an answer's stream until it completes. */
  follow(
    messageId: string,
    onEvent?: (event: StreamedEvent) => void,
  ): Promise<{ readonly events: StreamedEvent[]; readonly completed: boolean }>;
}

export interface StreamedEvent {
  readonly __typename: string;
  readonly sequence: number;
  readonly text?: string;
  readonly message?: {
    readonly status: string;
    readonly content: string;
    readonly error: { readonly code: string } | null;
  };
}

export const SIGN_IN_QUERY =
  'mutation SignIn($input: SignInInput!) { signIn(input: $input) { accessToken viewer { id } } }';
const CREATE =
  'mutation($input: CreateConversationInput!) { createConversation(input: $input) { conversation { id } } }';
const SEND = `mutation Send($input: SendMessageInput!) {
  sendMessage(input: $input) { userMessage { id } assistantMessage { id status content } }
}`;
const MESSAGE = 'query($id: ID!) { message(id: $id) { content status error { code retryable } } }';
const FOLLOW = `subscription($id: ID!) {
  messageStream(messageId: $id) {
    __typename sequence
    ... on MessageDelta { text }
    ... on MessageCompleted { message { status content error { code } } }
    ... on MessageFailed { message { status content error { code } } }
    ... on MessageCancelled { message { status content error { code } } }
  }
}`;

async function post(url: string, token: string | null, query: string, variables: object): Promise<Body> {
  const response = await fetch(`${url}/graphql`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...(token !== null && { authorization: `Bearer ${token}` }) },
    body: JSON.stringify({ query, variables }),
  });
  return (await response.json()) as Body;
}

/** Signs in at a running product. */
export async function signInAt(
  url: string,
  { tenant = 'acme', email = 'member@acme.example', password = 'demo-demo-demo' } = {},
): Promise<RemoteCaller & { readonly id: string }> {
  const { data } = await post(url, null, SIGN_IN_QUERY, { input: { tenant, email, password } });
  const token = data.signIn.accessToken as string;

  async function run(query: string, variables: object = {}) {
    const body = await post(url, token, query, variables);
    if (body.errors)
      throw new Error(body.errors.map(({ extensions, message }) => `${extensions.code} ${message}`).join());
    return body.data as unknown;
  }

  const caller: RemoteCaller = {
    token,
    run,
    createConversation: async (title = 'A conversation') =>
      (await caller.run(CREATE, { input: { title } })).createConversation.conversation.id as string,
    send: async (conversationId, content, more = {}) =>
      (await caller.run(SEND, { input: { conversationId, content, ...more } })).sendMessage,
    message: async (id) => (await caller.run(MESSAGE, { id })).message,
    async follow(messageId, onEvent = () => {}) {
      const client = createClient({
        url: `${url.replace('http', 'ws')}/graphql`,
        webSocketImpl: WebSocket,
        retryAttempts: 0,
        connectionParams: { authorization: `Bearer ${token}` },
      });
      const events: StreamedEvent[] = [];
      try {
        for await (const { data: found } of client.iterate({ query: FOLLOW, variables: { id: messageId } })) {
          const event = (found as { messageStream: StreamedEvent }).messageStream;
          events.push(event);
          onEvent(event);
        }
        return { events, completed: true };
      } catch {
        return { events, completed: false }; // the socket was closed
      } finally {
        void client.dispose();
      }
    },
  };
  return { ...caller, id: data.signIn.viewer.id as string };
}
