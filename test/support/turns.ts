import type { DynamoDbRequest } from '../../src/adapters/dynamodb/index.ts';
import { settle, type TestClock } from './clock.ts';
import { SEND, STREAM, type Caller, type World } from './world.ts';

/** An event of an answer's stream, as `STREAM` selects it. */
export interface ShownEvent {
  readonly __typename: string;
  readonly sequence: number;
  readonly messageId: string;
  readonly text?: string;
  readonly citation?: { readonly text: string; readonly source: string | null; readonly title: string | null };
  readonly message?: {
    readonly id: string;
    readonly status: string;
    readonly content: string;
    readonly error?: { readonly code: string; readonly retryable: boolean } | null;
  };
}

/**
 * An answer that sends three chunks and then nothing more: the turn runs until it is cancelled or times out. The second chunk
 * ends within a character, so that readers get two events.
 */
export const ENDLESS = 'What about refunds? [[emulate stall=true after=3]]';

export interface StartedTurn {
  readonly questionId: string;
  readonly answerId: string;
}

/** Sends without waiting for the answer. */
export async function startTurn(caller: Caller, conversationId: string, content: string): Promise<StartedTurn> {
  const { data, errors } = await caller.run(SEND, { input: { conversationId, content } });
  if (errors[0]) throw new Error(errors[0].message);
  return { questionId: data.sendMessage.userMessage.id, answerId: data.sendMessage.assistantMessage.id };
}

/** The events of an answer's stream, one by one; a GraphQL error in the stream is thrown as its code. */
export async function* follow(caller: Caller, messageId: string, after?: number): AsyncGenerator<ShownEvent> {
  for await (const { data, errors } of caller.stream(STREAM, { messageId, ...(after !== undefined && { after }) })) {
    if (errors?.[0]) throw new Error(String(errors[0].extensions['code']));
    yield (data as { messageStream: ShownEvent }).messageStream;
  }
}

/** Every event of an answer's stream, to its end. */
export async function eventsOf(caller: Caller, messageId: string, after?: number): Promise<ShownEvent[]> {
  const events: ShownEvent[] = [];
  for await (const event of follow(caller, messageId, after)) events.push(event);
  return events;
}

/** A reader that has begun to read: it has its first event. `events` are all of them, once the stream has ended. */
export async function openReader(caller: Caller, messageId: string, after?: number) {
  const stream = follow(caller, messageId, after);
  const first = await stream.next();
  const rest = async () => {
    const events = first.done ? [] : [first.value];
    for await (const event of stream) events.push(event);
    return events;
  };
  const events = rest();
  events.catch(() => {}); // whoever awaits it sees the failure
  return { events };
}

/** A turn that runs on without an end, with the text it has written until then. */
export async function startEndlessTurn(caller: Caller, conversationId: string) {
  const turn = await startTurn(caller, conversationId, ENDLESS);
  const texts: string[] = [];
  for await (const { text } of follow(caller, turn.answerId)) {
    if (text !== undefined) texts.push(text);
    if (texts.length === 2) break;
  }
  return { ...turn, text: texts.join('') };
}

export const textOf = (events: readonly ShownEvent[]): string => events.map(({ text }) => text ?? '').join('');

export const cancel = (caller: Caller, messageId: string) =>
  caller.run(
    `mutation($input: CancelMessageInput!) { cancelMessage(input: $input) { message { id status content completedAt error { code } } } }`,
    { input: { messageId } },
  );

/** What the agents were asked, oldest first. */
export const servedBy = ({ product }: World) => product.served();

/** What the agent was asked in one conversation, oldest first. */
export const servedIn = (world: World, conversationId: string) =>
  servedBy(world).filter(({ sessionId }) => sessionId.endsWith(conversationId));

/** The most requests that followed one another, each sent after the one before was answered. */
export function longestChain(requests: readonly DynamoDbRequest[]): number {
  const open = new Map<string, number[]>();
  let length = 0;
  let lastAnswered = -1;
  requests.forEach(({ operation, phase }, at) => {
    const starts = open.get(operation) ?? [];
    open.set(operation, starts);
    if (phase === 'sent') starts.push(at);
    // Of requests that overlap, the one that is answered first leaves most room for those after it.
    else if ((starts.shift() ?? -1) > lastAnswered) {
      length++;
      lastAnswered = at;
    }
  });
  return length;
}

export const sentCount = (requests: readonly DynamoDbRequest[]): number =>
  requests.filter(({ phase }) => phase === 'sent').length;

/** Stops a world whose clock stands still: what it waits for on its way out is given time. */
export async function stopInTime(world: World, clock: TestClock): Promise<void> {
  let stopped = false;
  const stopping = world.stop().finally(() => (stopped = true));
  while (!stopped) {
    await clock.advance(1_000);
    await settle();
  }
  await stopping;
}

/** Why a stream is refused: the code of the error in place of its first event. Undefined for one that was not refused. */
export async function refusalOf(caller: Caller, messageId: string, after?: number): Promise<unknown> {
  for await (const { errors } of caller.stream(STREAM, { messageId, ...(after !== undefined && { after }) })) {
    return errors?.[0]?.extensions['code'];
  }
  return undefined;
}

export const remove = (caller: Caller, conversationId: string) =>
  caller.run(
    `mutation($input: DeleteConversationInput!) { deleteConversation(input: $input) { deletedConversationId } }`,
    { input: { conversationId } },
  );
