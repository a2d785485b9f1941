import { createConversationLoaders } from '../../src/conversations/loaders.ts';
import type { ConversationStores } from '../../src/conversations/ports.ts';
import { createConversationService } from '../../src/conversations/service.ts';
import { createTurnService, type TurnService } from '../../src/conversations/turns.ts';
import { systemClock } from '../../src/kernel/clock.ts';
import { createCursors } from '../../src/tenancy/cursor.ts';
import type { TenantScope } from '../../src/tenancy/scope.ts';
import type { TenantId } from '../../src/tenancy/tenant-id.ts';

/** The turns of one member, on stores that the test may hold up. Their answers are never generated. */
export function turnsOf(tenantId: TenantId, userId: string, stores: ConversationStores): TurnService {
  const credential = { kind: 'SESSION', sessionId: '01ARZ3NDEKTSV4RRFFQ69G5FAV' } as const;
  const principal = { userId, name: 'Member', email: null, tenantId, expiresAt: Infinity, credential };
  const scope: TenantScope = { tenantId, principal: { ...principal, roles: ['MEMBER'] } };
  const clock = systemClock;
  /** With loaders of its own, as every request has. */
  const service = () => {
    const cursors = createCursors('secret', tenantId);
    const loaders = createConversationLoaders(stores.conversations, stores.messages, cursors);
    return createConversationService({ scope, stores, loaders, agents: { choose: () => null }, clock });
  };
  const generations = {
    ...{ start: () => {}, cancel: () => {}, settled: () => Promise.resolve(), drain: () => Promise.resolve() },
    enter: () => ({ turnToRun: () => Promise.resolve(), position: () => 0, leave: () => {} }),
    count: () => 0,
    accepting: () => true,
  };
  return createTurnService({
    ...{ scope, stores, generations, clock, knowledgeBaseIds: [], concurrentGenerations: null, background: () => {} },
    conversations: { find: (id) => service().find(id), findMessage: (id) => service().findMessage(id) },
  });
}
