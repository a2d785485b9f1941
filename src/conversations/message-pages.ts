import { pageOf, type Page, type PageRequest } from '../kernel/page.ts';
import type { Cursors } from '../tenancy/cursor.ts';
import type { Conversation, Message } from './model.ts';

const listName = (conversation: Conversation): string => `messages ${conversation.id}`;

/** The sequence numbers a page covers; `to` < `from` for an empty one. Numbers are dense, so a page is plain arithmetic. */
export interface SequenceRange {
  readonly from: number;
  readonly to: number;
}

/** @throws BAD_USER_INPUT for a cursor of another conversation. */
export function pageRange(conversation: Conversation, request: PageRequest, cursors: Cursors): SequenceRange {
  const position = cursors.open(listName(conversation), request);
  const last = conversation.messageCount;
  if (request.direction === 'forward') {
    const from = position === null ? 1 : Number(position) + 1;
    return { from, to: Math.min(last, from + request.size - 1) };
  }
  const to = position === null ? last : Math.min(last, Number(position) - 1);
  return { from: Math.max(1, to - request.size + 1), to };
}

export function messagePage(
  conversation: Conversation,
  { from, to }: SequenceRange,
  messages: readonly Message[],
  cursors: Cursors,
): Page<Message> {
  const edges = messages.map((node) => ({ cursor: cursors.seal(listName(conversation), String(node.sequence)), node }));
  return pageOf(edges, { hasNextPage: to < conversation.messageCount, hasPreviousPage: from > 1 });
}
