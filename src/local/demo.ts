// A walk through the main job against a running server: `npm start` in one terminal, `npm run demo` in another.
import { createClient, type Client } from 'graphql-ws';
import WebSocket from 'ws';
import { processEnvironment, readConfig } from '../config.ts';

const config = readConfig(processEnvironment());
const url = `http://${config.host}:${config.port}/graphql`;

type Answer<T> = {
  readonly data: T;
  readonly errors?: readonly { readonly message: string; readonly extensions: { readonly code: string } }[];
};

const say = (text: string) => process.stdout.write(`${text}\n`);
const title = (text: string) => say(`\n\u001b[1m${text}\u001b[0m`);

async function post<T>(token: string | null, query: string, variables: object = {}): Promise<Answer<T>> {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...(token !== null && { authorization: `Bearer ${token}` }) },
    body: JSON.stringify({ query, variables }),
  });
  return (await response.json()) as Answer<T>;
}

async function ask<T>(token: string | null, query: string, variables: object = {}): Promise<T> {
  const { data, errors } = await post<T>(token, query, variables);
  if (errors) throw new Error(`${errors[0]?.extensions.code}: ${errors[0]?.message}`);
  return data;
}

async function signIn(tenant: string, user: string): Promise<string> {
  const input = { tenant, email: `${user}@${tenant}.example`, password: config.demoPassword };
  const { signIn } = await ask<{ signIn: { accessToken: string; viewer: { name: string; tenant: { name: string } } } }>(
    null,
    `mutation SignIn($input: SignInInput!) { signIn(input: $input) { accessToken viewer { name tenant { name } } } }`,
    { input },
  );
  say(`${signIn.viewer.name}, of ${signIn.viewer.tenant.name}`);
  return signIn.accessToken;
}

async function createConversation(token: string): Promise<string> {
  const { createConversation } = await ask<{ createConversation: { conversation: { id: string } } }>(
    token,
    `mutation Create($input: CreateConversationInput!) { createConversation(input: $input) { conversation { id } } }`,
    { input: { title: 'A question about returns', agentId: 'support' } },
  );
  return createConversation.conversation.id;
}

async function send(token: string, conversationId: string, content: string): Promise<string> {
  say(`> ${content}`);
  const { sendMessage } = await ask<{ sendMessage: { assistantMessage: { id: string } } }>(
    token,
    `mutation Send($input: SendMessageInput!) { sendMessage(input: $input) { assistantMessage { id } } }`,
    { input: { conversationId, content } },
  );
  return sendMessage.assistantMessage.id;
}

interface StreamEvent {
  readonly __typename: string;
  readonly text?: string;
  readonly citation?: { readonly title: string | null; readonly source: string | null };
  readonly message?: {
    readonly status: string;
    readonly usage: { readonly totalTokens: number; readonly modelId: string } | null;
  };
}

/** Writes an answer as it comes; returns early once `stopAfter` pieces of text have come. */
async function follow(socket: Client, messageId: string, stopAfter = Infinity): Promise<void> {
  const query = `subscription Follow($id: ID!) { messageStream(messageId: $id) {
    __typename
    ... on MessageDelta { text }
    ... on MessageCitation { citation { title source } }
    ... on MessageCompleted { message { status usage { totalTokens modelId } } }
    ... on MessageFailed { message { status usage { totalTokens modelId } } }
    ... on MessageCancelled { message { status usage { totalTokens modelId } } }
  } }`;
  let pieces = 0;
  for await (const { data } of socket.iterate<{ messageStream: StreamEvent }>({
    query,
    variables: { id: messageId },
  })) {
    const event = data?.messageStream;
    if (event?.text) process.stdout.write(event.text);
    if (event?.citation) process.stdout.write(` [${event.citation.title}]`);
    if (event?.message) {
      const { status, usage } = event.message;
      say(`\n  ${status}: ${usage?.totalTokens} tokens of ${usage?.modelId}`);
    }
    if (event?.text && ++pieces >= stopAfter) return;
  }
}

async function showIsolation(conversationId: string) {
  const stranger = await signIn('globex', 'admin');
  const found = await ask<{ conversation: object | null }>(
    stranger,
    `query Peek($id: ID!) { conversation(id: $id) { title } }`,
    {
      id: conversationId,
    },
  );
  say(`  conversation(id: "${conversationId}") → ${JSON.stringify(found.conversation)}`);
  const refused = await post(
    stranger,
    `mutation Send($input: SendMessageInput!) { sendMessage(input: $input) { userMessage { id } } }`,
    {
      input: { conversationId, content: 'Who is there?' },
    },
  );
  say(`  sendMessage → ${refused.errors?.[0]?.extensions.code}`);
}

async function showUsage() {
  const admin = await signIn('acme', 'admin');
  const now = new Date();
  const start = new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth()));
  const end = new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth() + 1));
  const { usageSummary } = await ask<{ usageSummary: object }>(
    admin,
    `query Usage($start: DateTime!, $end: DateTime!) { usageSummary(start: $start, end: $end) {
      conversations { conversations turns uniqueUsers }
      tokens { inputTokens outputTokens totalTokens }
      estimatedTokens
      agents { invocations averageLatencyMs successRate }
      byUser { user { name } turns tokens { totalTokens } }
    } }`,
    { start, end },
  );
  say(JSON.stringify(usageSummary, null, 2));
}

async function walk() {
  title('1. Sign in');
  const token = await signIn('acme', 'member');
  const connectionParams = { authorization: `Bearer ${token}` };
  const socket = createClient({ url: url.replace('http', 'ws'), webSocketImpl: WebSocket, connectionParams });

  title('2. Talk to an agent, and watch the answer stream');
  const conversationId = await createConversation(token);
  await follow(
    socket,
    await send(token, conversationId, 'What is your refund policy, and how long does a refund take?'),
  );
  await follow(socket, await send(token, conversationId, 'And how fast do you ship?'));

  title('3. Leave in the middle of an answer, and come back');
  const messageId = await send(token, conversationId, 'What warranty do your rockets have?');
  await follow(socket, messageId, 5);
  say('\n  … gone, and back again: everything is replayed');
  await follow(socket, messageId);

  title('4. Somebody of another tenant');
  await showIsolation(conversationId);

  title("5. The tenant's usage this month");
  await showUsage();
  await socket.dispose();
}

walk().catch((error: unknown) => {
  const unreachable = error instanceof TypeError && error.message === 'fetch failed';
  say(unreachable ? `No server at ${url}: start one with \`npm start\`.` : String(error));
  process.exitCode = 1;
});
