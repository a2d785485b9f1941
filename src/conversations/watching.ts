import { sleep, type Clock } from '../kernel/clock.ts';
import { createEventQueue } from '../kernel/event-queue.ts';
import type { Message, StreamEvent } from './model.ts';
import type { ConversationStores } from './ports.ts';

/** How often an answer without a stream is looked at: its process died, and the sweeper will end it. */
const LOOK_EVERY_MS = 2_000;

/** A message as it is now: the row of an answer that is still being written lags behind its stream. */
export async function withProgress(streams: ConversationStores['streams'], message: Message): Promise<Message> {
  const progress = message.status === 'STREAMING' ? await streams.progress(message.id) : null;
  return progress === null ? message : { ...message, content: progress.text };
}

interface Watching {
  readonly stores: Pick<ConversationStores, 'messages' | 'streams'>;
  readonly clock: Clock;
}

/**
 * Follows an answer: its stream where there is one, otherwise the one terminal event, as soon as it has ended.
 * The iterator is no generator, so that a reader who leaves is gone at once and not at the next event.
 */
export async function followAnswer(
  { stores, clock }: Watching,
  message: Message,
  after: number,
): Promise<AsyncIterableIterator<StreamEvent>> {
  const live = await stores.streams.read(message.id, after);
  if (live) return live;
  const left = new AbortController();
  const queue = createEventQueue<StreamEvent>({ onEnd: () => left.abort() });
  void untilEnded({ stores, clock }, message, left.signal).then((ended) => {
    if (ended) queue.push({ sequence: ended.lastEvent ?? 1, type: terminalType(ended), message: ended });
    queue.end();
  }, queue.fail);
  return queue;
}

const terminalType = ({ status }: Message) => (status === 'STREAMING' ? 'FAILED' : status);

async function untilEnded({ stores, clock }: Watching, message: Message, left: AbortSignal): Promise<Message | null> {
  let current: Message | null = message;
  while (current?.status === 'STREAMING' && !left.aborted) {
    await sleep(clock, LOOK_EVERY_MS, left);
    [current = null] = await stores.messages.getMany([message.id]);
  }
  return current;
}
