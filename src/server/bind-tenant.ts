import type { AgentCatalogue } from '../agents/catalogue.ts';
import type { AuditStore } from '../audit/ports.ts';
import { createAuditService } from '../audit/service.ts';
import type { AuthService } from '../auth/service.ts';
import type { Audit, ContextBinder, TenantServices } from '../context.ts';
import type { Generations } from '../conversations/generation.ts';
import { createConversationLoaders } from '../conversations/loaders.ts';
import type { ConversationStores } from '../conversations/ports.ts';
import { keptConversations } from '../conversations/retention.ts';
import { createConversationService } from '../conversations/service.ts';
import { createTurnService } from '../conversations/turns.ts';
import type { Clock } from '../kernel/clock.ts';
import { pageRequest, type PageArguments } from '../kernel/page.ts';
import type { ParkedWorkStore } from '../parked/ports.ts';
import type { Cursors } from '../tenancy/cursor.ts';
import type { TenantId } from '../tenancy/tenant-id.ts';
import { createTenantConfiguration } from '../tenants/configuration.ts';
import type { Tenant, UsageLimits } from '../tenants/model.ts';
import type { PlatformService } from '../tenants/platform.ts';
import type { RateLimiter, TenantDirectory } from '../tenants/ports.ts';
import { createRequestLimit } from '../tenants/request-limit.ts';
import type { TenantService } from '../tenants/service.ts';
import type { ExportLinks } from '../usage/export-links.ts';
import { createUsageExports } from '../usage/export.ts';
import type { LiveUsage } from '../usage/model.ts';
import type { TokenLimits, UsageStore } from '../usage/ports.ts';
import type { UsageService } from '../usage/service.ts';
import { createUserLoader } from '../users/loaders.ts';
import type { UserStore } from '../users/ports.ts';
import { exportAddress } from './exports.ts';

/** Everything that is kept for one tenant. */
export interface TenantData extends ConversationStores {
  readonly users: UserStore;
  readonly usage: UsageService;
  readonly liveUsage: (limits: TokenLimits) => AsyncIterableIterator<LiveUsage>;
  readonly usageEvents: Pick<UsageStore, 'ordered'>;
  readonly parkedWork: ParkedWorkStore;
  readonly cursors: Cursors;
  readonly audit: AuditStore;
}

export interface BinderDependencies {
  readonly auth: AuthService;
  readonly audit: Audit;
  readonly tenants: TenantService;
  readonly platform: PlatformService;
  readonly directory: TenantDirectory;
  readonly agents: AgentCatalogue;
  readonly dataOf: (tenantId: TenantId, limits: UsageLimits) => TenantData;
  readonly generations: Generations;
  readonly limiter: RateLimiter;
  readonly exportLinks: ExportLinks;
  readonly clock: Clock;
  readonly background: (work: Promise<void>) => void;
}

/** Puts the services of one tenant together for one request: the only place where domains meet. */
export function createContextBinder(deps: BinderDependencies): ContextBinder {
  const {
    auth,
    audit,
    tenants,
    platform,
    directory,
    agents,
    dataOf,
    generations,
    limiter,
    exportLinks,
    clock,
    background,
  } = deps;
  const countRequest = createRequestLimit(limiter);

  /** The tenant's agents that this installation has; the first one is the default. */
  const choose = (tenant: Tenant, agentId: string | null) => {
    const choice = agents.among(tenant.agentIds);
    return (agentId === null ? choice[0] : choice.find(({ id }) => id === agentId)) ?? null;
  };

  return {
    auth,
    platform,
    audit,
    now: () => clock.now(),
    tenantOf: ({ tenantId }) => (tenantId === null ? Promise.resolve(null) : tenants.find(tenantId)),

    async bindTenant({ namedTenant, event }, principal): Promise<TenantServices> {
      const tenant = await tenants.enter(principal, namedTenant);
      if (!event) await countRequest(tenant, principal);
      const scope = { tenantId: tenant.id, principal };
      const data = dataOf(tenant.id, tenant.limits);
      const stores = {
        ...data,
        conversations: keptConversations(data.conversations, tenant.conversationRetentionDays, clock),
      };
      const configuration = createTenantConfiguration({ scope, directory, agents, changed: tenants.changed, clock });
      const conversationLoaders = createConversationLoaders(stores.conversations, stores.messages, stores.cursors);
      const loaders = { ...conversationLoaders, userById: createUserLoader(stores.users) };
      const conversations = createConversationService({
        scope,
        stores,
        loaders,
        agents: { choose: (agentId) => choose(tenant, agentId) },
        clock,
      });
      const turns = createTurnService({
        scope,
        knowledgeBaseIds: tenant.knowledgeBaseIds,
        concurrentGenerations: tenant.limits.concurrentGenerations,
        stores,
        conversations,
        generations,
        clock,
        background,
      });
      const liveUsage = () => stores.liveUsage(tenant.limits);
      const exports = createUsageExports({
        scope,
        store: stores.usageEvents,
        links: exportLinks,
        addressOf: exportAddress,
      });
      const audit = createAuditService(stores.audit, stores.cursors);
      const parkedWork = (page: PageArguments) => stores.parkedWork.list(pageRequest(page));
      const usage = { usage: stores.usage, liveUsage, exports };
      return { scope, tenant, configuration, conversations, turns, ...usage, parkedWork, audit, loaders };
    },
  };
}
