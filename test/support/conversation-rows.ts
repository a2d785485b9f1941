import { createHash } from 'node:crypto';
import { NOTHING_USED, type TurnMetering } from '../../src/conversations/metering.ts';
import {
  messageId,
  newConversationId,
  type Conversation,
  type Message,
  type MessageOutcome,
  type Turn,
} from '../../src/conversations/model.ts';
import { turnMessages } from '../../src/conversations/turn-end.ts';
import { ulid } from '../../src/kernel/ids.ts';
import type { TenantId } from '../../src/tenancy/tenant-id.ts';
import { newUserId } from '../../src/tenancy/principal.ts';

export const AT = '2026-11-20T12:00:00.000Z';

export function aConversation(tenantId: TenantId, more: Partial<Conversation> = {}): Conversation {
  const at = more.createdAt ?? AT;
  return {
    tenantId,
    id: newConversationId(Date.parse(at)),
    title: 'A conversation',
    agentId: 'support',
    agentName: 'Support',
    ownerId: newUserId(Date.parse(at)),
    ownerName: 'Mia Member',
    createdAt: at,
    updatedAt: at,
    version: 1,
    messageCount: 0,
    ...more,
  };
}

export function aTurn(conversation: Conversation, more: Partial<Turn> = {}): Turn {
  const id = more.id ?? ulid(Date.parse(AT));
  const content = more.content ?? 'What is the refund policy?';
  return {
    tenantId: conversation.tenantId,
    id,
    key: id,
    conversationId: conversation.id,
    ownerId: conversation.ownerId,
    content,
    signInId: null,
    contentDigest: createHash('sha256').update(content).digest('hex'),
    sequence: null,
    leaseUntil: Date.parse(AT) + 60_000,
    cancelRequested: false,
    done: false,
    repairs: 0,
    parked: false,
    reported: null,
    ...more,
  };
}

/** The messages of a conversation's nth turn, counted from 0. */
export function messagesOf(conversation: Conversation, turn: Turn, index = 0): readonly [Message, Message] {
  return turnMessages({ ...turn, sequence: index * 2 + 1 }, conversation, AT);
}

export const answerIdOf = (conversation: Conversation, index = 0): string => messageId(conversation.id, index * 2 + 2);

export const METERING: TurnMetering = {
  ...NOTHING_USED,
  attempts: 1,
  aliasId: 'ALSUPPORT1',
  inputTokens: 120,
  outputTokens: 30,
  modelId: 'amazon.nova-lite-v1:0',
  latencyMs: 900,
  firstTextMs: 200,
};

export function anOutcome(content: string, more: Partial<MessageOutcome> = {}): MessageOutcome {
  return {
    status: 'COMPLETED',
    content,
    citations: [],
    error: null,
    usage: null,
    completedAt: '2026-11-20T12:00:05.000Z',
    lastEvent: 4,
    ...more,
  };
}
