import type { StreamEvent } from '../../src/conversations/model.ts';
import type { ResolversTypes, SubscriptionMessageStreamArgs, SubscriptionResolvers } from '../types.generated.ts';

function shown(event: StreamEvent, messageId: string): ResolversTypes['MessageEvent'] {
  switch (event.type) {
    case 'QUEUED':
      return { __typename: 'MessageQueued', messageId, ...event };
    case 'DELTA':
      return { __typename: 'MessageDelta', messageId, ...event };
    case 'CITATION':
      return { __typename: 'MessageCitation', messageId, ...event };
    case 'COMPLETED':
      return { __typename: 'MessageCompleted', messageId, ...event };
    case 'FAILED':
      return { __typename: 'MessageFailed', messageId, ...event };
    case 'CANCELLED':
      return { __typename: 'MessageCancelled', messageId, ...event };
  }
}

export const messageStream = {
  subscribe: (_root, { messageId, after }, { tenant }) => tenant.turns.watch(messageId, after),
  resolve: (event: StreamEvent, { messageId }: SubscriptionMessageStreamArgs) => shown(event, messageId),
} satisfies SubscriptionResolvers['messageStream'];
