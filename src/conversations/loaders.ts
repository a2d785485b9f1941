import DataLoader from 'dataloader';
import type { Page, PageRequest } from '../kernel/page.ts';
import type { Cursors } from '../tenancy/cursor.ts';
import { messagePage, pageRange, type SequenceRange } from './message-pages.ts';
import { messageId, type Conversation, type Message } from './model.ts';
import type { ConversationStore, MessageStore } from './ports.ts';

/** A page of one conversation's messages. The conversation is given, not its id: its `messageCount` says which numbers exist. */
export interface MessagePageKey {
  readonly conversation: Conversation;
  readonly request: PageRequest;
}

/** Reads of one tenant, all of one tick in one call. Made anew for every request and every subscription event. */
export interface ConversationLoaders {
  readonly conversationById: DataLoader<string, Conversation | null>;
  readonly messageById: DataLoader<string, Message | null>;
  readonly lastMessage: { load(conversation: Conversation): Promise<Message | null> };
  readonly messagePage: { load(key: MessagePageKey): Promise<Page<Message>> };
}

export function createConversationLoaders(
  conversations: Pick<ConversationStore, 'getMany'>,
  messages: Pick<MessageStore, 'getMany' | 'range'>,
  cursors: Cursors,
): ConversationLoaders {
  const conversationById = new DataLoader<string, Conversation | null>((ids) => conversations.getMany(ids));
  const messageById = new DataLoader<string, Message | null>((ids) => messages.getMany(ids));
  const ranges = createRangeLoader(messages, messageById);
  return {
    conversationById,
    messageById,
    lastMessage: {
      load: async ({ id, messageCount }) => (messageCount === 0 ? null : messageById.load(messageId(id, messageCount))),
    },
    messagePage: {
      async load({ conversation, request }) {
        const range = pageRange(conversation, request, cursors);
        const found = range.to < range.from ? [] : await ranges.load({ conversationId: conversation.id, ...range });
        return messagePage(conversation, range, found, cursors);
      },
    },
  };
}

interface Range extends SequenceRange {
  readonly conversationId: string;
}

/** One range is a Query (charged by bytes); the ranges of many conversations are known keys, read together with whatever else is loaded by key. */
function createRangeLoader(messages: Pick<MessageStore, 'range'>, messageById: DataLoader<string, Message | null>) {
  const byKeys = async ({ conversationId, from, to }: Range) => {
    const ids = Array.from({ length: to - from + 1 }, (_, index) => messageId(conversationId, from + index));
    const found = await Promise.all(ids.map((id) => messageById.load(id)));
    return found.filter((message) => message !== null);
  };
  return new DataLoader<Range, readonly Message[], string>(
    (ranges) =>
      Promise.all(
        ranges.map((range) =>
          ranges.length === 1 ? messages.range(range.conversationId, range.from, range.to) : byKeys(range),
        ),
      ),
    { cacheKeyFn: ({ conversationId, from, to }) => `${conversationId} ${from} ${to}` },
  );
}
