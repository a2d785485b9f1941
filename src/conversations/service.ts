import type DataLoader from 'dataloader';
import { isoTime, type Clock } from '../kernel/clock.ts';
import { AppError, badInput } from '../kernel/errors.ts';
import { pageOf, pageRequest, type Page, type PageArguments } from '../kernel/page.ts';
import { maySee, owns, requireOwner, seesAll, type TenantScope } from '../tenancy/scope.ts';
import { isOperator, isOwnerId } from '../tenancy/principal.ts';
import { checkTitle, TITLE_DEFAULT } from './input.ts';
import type { ConversationLoaders } from './loaders.ts';
import { isConversationId, newConversationId, parseMessageId, type Conversation, type Message } from './model.ts';
import type { AgentChoice, ConversationStores } from './ports.ts';
import { withProgress } from './watching.ts';

/** Conversations and messages of one tenant, as one caller may see and change them. What the caller may not see is absent. */
export interface ConversationService {
  find(id: string): Promise<Conversation | null>;
  findMessage(id: string): Promise<Message | null>;
  list(
    filter:
      { readonly ownerId?: string | null | undefined; readonly agentId?: string | null | undefined } | null | undefined,
    page: PageArguments,
  ): Promise<Page<Conversation>>;
  messages(conversation: Conversation, page: PageArguments): Promise<Page<Message>>;
  lastMessage(conversation: Conversation): Promise<Message | null>;
  /** @throws FORBIDDEN for an acting operator; BAD_USER_INPUT for a title out of bounds or an agent the tenant does not have. */
  create(input: {
    readonly agentId?: string | null | undefined;
    readonly title?: string | null | undefined;
  }): Promise<Conversation>;
  /** @throws NOT_FOUND, FORBIDDEN; CONFLICT with `currentVersion` when somebody else changed it first. */
  rename(input: {
    readonly conversationId: string;
    readonly title: string;
    readonly expectedVersion?: number | null | undefined;
  }): Promise<Conversation>;
}

export interface ConversationServiceDependencies {
  readonly scope: TenantScope;
  readonly stores: Pick<ConversationStores, 'conversations' | 'messages' | 'streams'>;
  readonly loaders: ConversationLoaders;
  readonly agents: AgentChoice;
  readonly clock: Clock;
}

export const conversationNotFound = (): AppError => new AppError('NOT_FOUND', 'There is no such conversation.');

/** Loads one by id, or null without asking the store when no object can have this id. */
export async function findVisible(
  scope: TenantScope,
  loader: DataLoader<string, Conversation | null>,
  id: string,
): Promise<Conversation | null> {
  const conversation = isConversationId(id) ? await loader.load(id) : null;
  return conversation && maySee(scope, conversation.ownerId) ? conversation : null;
}

export function createConversationService(deps: ConversationServiceDependencies): ConversationService {
  const { scope, stores, loaders, agents, clock } = deps;

  const current = async (message: Message | null) => message && withProgress(stores.streams, message);

  async function mustFind(id: string): Promise<Conversation> {
    const conversation = await findVisible(scope, loaders.conversationById, id);
    if (!conversation) throw conversationNotFound();
    return conversation;
  }

  return {
    find: (id) => findVisible(scope, loaders.conversationById, id),

    async findMessage(id) {
      const place = parseMessageId(id);
      if (!place) return null;
      const [conversation, message] = await Promise.all([
        findVisible(scope, loaders.conversationById, place.conversationId),
        loaders.messageById.load(id),
      ]);
      return conversation && current(message);
    },

    async list(filter, page) {
      const request = pageRequest(page);
      const ownerId = filter?.ownerId ?? (seesAll(scope) ? null : scope.principal.userId);
      if (ownerId !== null && !(isOwnerId(ownerId) && maySee(scope, ownerId)))
        return pageOf([], { hasNextPage: false, hasPreviousPage: false });
      return stores.conversations.list({ ownerId, agentId: filter?.agentId ?? null }, request);
    },

    async messages(conversation, page) {
      const found = await loaders.messagePage.load({ conversation, request: pageRequest(page) });
      const edges = await Promise.all(
        found.edges.map(async ({ cursor, node }) => ({ cursor, node: await withProgress(stores.streams, node) })),
      );
      return pageOf(edges, found.pageInfo);
    },

    lastMessage: async (conversation) => current(await loaders.lastMessage.load(conversation)),

    async create({ agentId, title }) {
      if (isOperator(scope.principal))
        throw new AppError('FORBIDDEN', 'A platform operator may not start conversations.');
      const checkedTitle = title == null ? TITLE_DEFAULT : checkTitle(title);
      const agent = agents.choose(agentId ?? null);
      if (!agent) throw badInput('This tenant has no such agent.', 'agentId');
      const at = isoTime(clock.now());
      const conversation: Conversation = {
        tenantId: scope.tenantId,
        id: newConversationId(clock.now()),
        title: checkedTitle,
        agentId: agent.id,
        agentName: agent.name,
        ownerId: scope.principal.userId,
        ownerName: scope.principal.name,
        createdAt: at,
        updatedAt: at,
        version: 1,
        messageCount: 0,
      };
      await stores.conversations.create(conversation);
      return conversation;
    },

    async rename({ conversationId, title, expectedVersion }) {
      const checkedTitle = checkTitle(title);
      requireOwner(scope, (await mustFind(conversationId)).ownerId, 'rename it');
      const change = { title: checkedTitle, expectedVersion: expectedVersion ?? null };
      const result = await stores.conversations.rename(conversationId, change);
      if (result.renamed) return result.renamed;
      if (!result.current || !owns(scope, result.current.ownerId)) throw conversationNotFound();
      throw new AppError('CONFLICT', 'The conversation was changed meanwhile.', {
        currentVersion: result.current.version,
      });
    },
  };
}
