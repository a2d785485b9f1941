import { sleep, type Clock } from '../kernel/clock.ts';
import { createEventQueue } from '../kernel/event-queue.ts';
import type { Message, StreamEvent } from './model.ts';
import type { ConversationStores } from './ports.ts';

/** How often an answer without a stream is looked at: its process died, and the sweeper will end it. */
const LOOK_EVERY_MS = 2_000;
/** How long a stream may say nothing before the stored answer is looked at. */
const SILENT_MS = 10_000;

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
  if (live) return withStoredEnd({ stores, clock }, live, message);
  const left = new AbortController();
  const queue = createEventQueue<StreamEvent>({ onEnd: () => left.abort() });
  void untilEnded({ stores, clock }, message, left.signal).then((ended) => {
    if (ended) queue.push(endOf(ended));
    queue.end();
  }, queue.fail);
  return queue;
}

const endOf = (message: Message): StreamEvent => ({
  sequence: message.lastEvent ?? 1,
  type: message.status === 'STREAMING' ? 'FAILED' : message.status,
  message,
});

/**
 * A stream, ended by what is stored where it is never told its end: a process ended the answer while Redis was away, and was gone
 * before that was over. Readers are told last of all, so an answer has to have ended in two looks.
 */
function withStoredEnd(
  { stores, clock }: Watching,
  live: AsyncIterableIterator<StreamEvent>,
  { id }: Message,
): AsyncIterableIterator<StreamEvent> {
  /** Null for one that has not ended, or cannot be read now; undefined for one that is gone. */
  async function endedMessage(): Promise<Message | null | undefined> {
    try {
      const [message] = await stores.messages.getMany([id]);
      return message?.status === 'STREAMING' ? null : (message ?? undefined);
    } catch {
      return null;
    }
  }

  async function next(): Promise<IteratorResult<StreamEvent>> {
    const event = live.next();
    let looks = 0;
    for (;;) {
      const said = new AbortController();
      const silence = sleep(clock, SILENT_MS, said.signal).then(() => null);
      const first = await Promise.race([event, silence]).finally(() => said.abort());
      if (first) return first;
      const ended = await endedMessage();
      looks = ended === null ? 0 : looks + 1;
      if (ended === null || looks < 2) continue;
      await live.return?.();
      return ended ? { value: endOf(ended), done: false } : { value: undefined, done: true };
    }
  }

  return {
    next,
    return: () => live.return?.() ?? Promise.resolve({ value: undefined, done: true }),
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}

async function untilEnded({ stores, clock }: Watching, message: Message, left: AbortSignal): Promise<Message | null> {
  let current: Message | null = message;
  while (current?.status === 'STREAMING' && !left.aborted) {
    await sleep(clock, LOOK_EVERY_MS, left);
    [current = null] = await stores.messages.getMany([message.id]);
  }
  return current;
}
