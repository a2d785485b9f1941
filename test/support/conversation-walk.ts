import { expect } from 'vitest';

interface StreamedEvent {
  readonly __typename: string;
  readonly sequence: number;
  readonly text?: string;
  readonly message?: { readonly status: string; readonly content: string };
}

/** What a client library must be able to do: ask something once, and follow something. */
export interface WalkingClient {
  // Each library has its own idea of the types of what it returns.
  // eslint-disable-next-line @typescript-eslint/no-explicit-any
  run(query: string, variables: Record<string, unknown>): Promise<any>;
  follow(
    subscription: string,
    variables: Record<string, unknown>,
    onData: (data: { messageStream: StreamedEvent }) => void,
  ): Promise<void>;
  close(): void | Promise<void>;
}

const SIGN_IN = `mutation SignIn($input: SignInInput!) { signIn(input: $input) { accessToken viewer { id name } } }`;
const CREATE = `mutation Create($input: CreateConversationInput!) { createConversation(input: $input) { conversation { id title } } }`;
const SEND = `mutation Send($input: SendMessageInput!) {
  sendMessage(input: $input) { userMessage { id content } assistantMessage { id status } }
}`;
const STREAM = `subscription Follow($messageId: ID!) {
  messageStream(messageId: $messageId) {
    __typename sequence
    ... on MessageDelta { text }
    ... on MessageCompleted { message { id status content } }
    ... on MessageCancelled { message { id status content } }
  }
}`;
const HISTORY = `query History($id: ID!) {
  conversation(id: $id) { id title messages { nodes { id role status content } } lastMessage { id } }
}`;
const CANCEL = `mutation Cancel($input: CancelMessageInput!) { cancelMessage(input: $input) { message { id status } } }`;
const USAGE = `query Usage($start: DateTime!, $end: DateTime!) {
  usageSummary(start: $start, end: $end) { conversations { turns } tokens { totalTokens } agents { invocations } }
}`;

const DAY_MS = 86_400_000;

/** The whole conversation, by any client: sign in, create, send, stream to the end, read back, cancel another turn, see the usage. */
export async function walkConversation(connect: (token: string | null) => WalkingClient, password: string) {
  const stranger = connect(null);
  const input = { tenant: 'acme', email: 'admin@acme.example', password };
  const { accessToken, viewer } = (await stranger.run(SIGN_IN, { input })).signIn;
  expect(viewer.name).toBe('Acme Corporation Admin');
  await expect(stranger.run(HISTORY, { id: 'conv-x' })).rejects.toThrow(/sign in/i);
  await stranger.close();

  const client = connect(accessToken as string);
  try {
    const { conversation } = (await client.run(CREATE, { input: { title: 'A walk' } })).createConversation;
    const sent = (await client.run(SEND, { input: { conversationId: conversation.id, content: 'What do you know?' } }))
      .sendMessage;
    const events: StreamedEvent[] = [];
    await client.follow(STREAM, { messageId: sent.assistantMessage.id }, (data) => events.push(data.messageStream));
    expect(events.map(({ sequence }) => sequence)).toEqual(events.map((_event, index) => index + 1));
    const text = events.map((event) => event.text ?? '').join('');
    expect(events.at(-1)).toMatchObject({
      __typename: 'MessageCompleted',
      message: { status: 'COMPLETED', content: text },
    });
    expect(text).not.toBe('');

    const history = (await client.run(HISTORY, { id: conversation.id })).conversation;
    expect(history.messages.nodes).toMatchObject([
      { role: 'USER', content: 'What do you know?' },
      { role: 'ASSISTANT', status: 'COMPLETED', content: text },
    ]);
    expect(history.lastMessage.id).toBe(sent.assistantMessage.id);

    const content = '[[emulate chunks=20 stall=true after=3]] And what else?';
    const second = (await client.run(SEND, { input: { conversationId: conversation.id, content } })).sendMessage;
    const messageId = second.assistantMessage.id as string;
    const seen: StreamedEvent[] = [];
    const first = Promise.withResolvers<void>();
    const ended = client.follow(STREAM, { messageId }, (data) => {
      seen.push(data.messageStream);
      first.resolve();
    });
    await first.promise;
    const cancelled = (await client.run(CANCEL, { input: { messageId } })).cancelMessage;
    expect(cancelled.message).toMatchObject({ id: messageId, status: 'CANCELLED' });
    await ended;
    expect(seen.at(-1)).toMatchObject({ __typename: 'MessageCancelled', message: { status: 'CANCELLED' } });

    const now = Date.now();
    const period = { start: new Date(now - DAY_MS).toISOString(), end: new Date(now + DAY_MS).toISOString() };
    const usage = (await client.run(USAGE, period)).usageSummary;
    expect(usage).toMatchObject({ conversations: { turns: 2 }, agents: { invocations: 2 } });
    expect(usage.tokens.totalTokens).toBeGreaterThan(0);
  } finally {
    await client.close();
  }
}
