import type { AgentCatalogue } from '../agents/catalogue.ts';
import type { AlertService } from '../alerts/service.ts';
import type { AlertTerms } from '../alerts/watch.ts';
import type { AuditStore, SealStore } from '../audit/ports.ts';
import { createAuditExport } from '../audit/export.ts';
import { createAuditService } from '../audit/service.ts';
import type { PasswordChange, PasswordService } from '../auth/password-service.ts';
import type { AuthService } from '../auth/service.ts';
import type { Audit, ContextBinder, TenantServices } from '../context.ts';
import type { Generations } from '../conversations/generation.ts';
import { createConversationLoaders } from '../conversations/loaders.ts';
import type { ConversationStores } from '../conversations/ports.ts';
import { keptConversations } from '../conversations/retention.ts';
import { createConversationService } from '../conversations/service.ts';
import { createTurnService } from '../conversations/turns.ts';
import type { IssuerService } from '../federation/service.ts';
import type { ExportLinks } from '../exports/links.ts';
import type { ExportSources } from '../exports/model.ts';
import { createExports } from '../exports/service.ts';
import type { Clock } from '../kernel/clock.ts';
import { pageRequest, type PageArguments } from '../kernel/page.ts';
import type { ParkedWorkStore } from '../parked/ports.ts';
import { createApiKeyService } from '../partners/api-keys.ts';
import type { ApiKeyAuthentication } from '../partners/authentication.ts';
import type { ApiKeyStore, CheckOperation, OperationStore, OperationUsageStore } from '../partners/ports.ts';
import { createOperationService } from '../partners/publishing.ts';
import type { OperationGate } from '../partners/running.ts';
import type { Cursors } from '../tenancy/cursor.ts';
import type { TenantId } from '../tenancy/tenant-id.ts';
import { createTenantConfiguration } from '../tenants/configuration.ts';
import type { Tenant } from '../tenants/model.ts';
import type { PlatformService } from '../tenants/platform.ts';
import type { RateLimiter, TenantDirectory } from '../tenants/ports.ts';
import { createRequestLimits } from '../tenants/request-limit.ts';
import type { TenantService } from '../tenants/service.ts';
import { createUsageExport } from '../usage/export.ts';
import type { LiveUsage } from '../usage/model.ts';
import type { UsageStore } from '../usage/ports.ts';
import type { UsageService } from '../usage/service.ts';
import { createUserAdministration } from '../users/administration.ts';
import { createUserLoader } from '../users/loaders.ts';
import type { UserDirectory, UserSessions, UserStore } from '../users/ports.ts';
import { exportAddress } from './exports.ts';
import { createTenantExport } from './tenant-export.ts';

/** Everything that is kept for one tenant. */
export interface TenantData extends ConversationStores {
  readonly users: UserStore;
  readonly userDirectory: UserDirectory;
  readonly sessions: UserSessions;
  readonly apiKeys: ApiKeyStore;
  readonly operations: OperationStore;
  readonly operationUsage: OperationUsageStore;
  readonly usage: UsageService;
  readonly liveUsage: () => AsyncIterableIterator<LiveUsage>;
  readonly usageEvents: Pick<UsageStore, 'ordered'>;
  readonly parkedWork: ParkedWorkStore;
  readonly alerts: AlertService;
  readonly cursors: Cursors;
  readonly audit: AuditStore & Pick<SealStore, 'ofDay'>;
}

export interface BinderDependencies {
  readonly auth: AuthService;
  readonly audit: Audit;
  readonly passwords: PasswordService;
  readonly tenants: TenantService;
  readonly platform: PlatformService;
  readonly directory: TenantDirectory;
  readonly agents: AgentCatalogue;
  /** With a signal: for reading only, until it aborts. */
  readonly dataOf: (tenantId: TenantId, terms: AlertTerms, signal?: AbortSignal) => TenantData;
  readonly issuersOf: (tenantId: TenantId) => IssuerService;
  /** What this instance knows of API keys and published operations; told when one is changed. */
  readonly apiKeys: Pick<ApiKeyAuthentication, 'find' | 'changed'>;
  readonly operationGate: Pick<OperationGate, 'changed'>;
  readonly checkOperation: CheckOperation;
  readonly generations: Generations;
  readonly limiter: RateLimiter;
  /** What a tenant may use where its own limits do not say; null: any number. */
  readonly pointsPerMinute: number | null;
  readonly exportLinks: ExportLinks;
  readonly clock: Clock;
  readonly background: (work: Promise<void>) => void;
}

/** Puts the services of one tenant together for one request: the only place where domains meet. */
export function createContextBinder(deps: BinderDependencies): ContextBinder {
  const { auth, audit, passwords, tenants, platform, directory, agents, dataOf, generations, limiter } = deps;
  const { exportLinks, clock, background } = deps;
  const countRequest = createRequestLimits(limiter, deps.pointsPerMinute);

  /** The tenant's agents that this installation has; the first one is the default. */
  const choose = (tenant: Tenant, agentId: string | null) => {
    const choice = agents.among(tenant.agentIds);
    return (agentId === null ? choice[0] : choice.find(({ id }) => id === agentId)) ?? null;
  };

  return {
    auth,
    passwords,
    platform,
    audit,
    tenantOf: ({ tenantId }) => (tenantId === null ? Promise.resolve(null) : tenants.find(tenantId)),

    async bindTenant({ namedTenant, event, bill, signal, ipAddress, userAgent }, principal): Promise<TenantServices> {
      const tenant = await tenants.enter(principal, namedTenant);
      if (!event) {
        const budget = await countRequest(tenant, principal, bill?.points ?? 0);
        if (bill) bill.budget = budget;
      }
      const scope = { tenantId: tenant.id, principal };
      // What is written is written to its end, and turns outlive their request; only what reads ends with the operation.
      const kept = (data: TenantData): TenantData => ({
        ...data,
        conversations: keptConversations(data.conversations, tenant.conversationRetentionDays, clock),
      });
      const stores = kept(dataOf(tenant.id, tenant));
      const reading = kept(dataOf(tenant.id, tenant, signal));
      const configuration = createTenantConfiguration({ scope, directory, agents, changed: tenants.changed, clock });
      const { userDirectory, sessions } = stores;
      const users = createUserAdministration({ scope, directory: userDirectory, sessions, clock });
      const conversationLoaders = createConversationLoaders(reading.conversations, reading.messages, reading.cursors);
      const loaders = { ...conversationLoaders, userById: createUserLoader(reading.users) };
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
      const issuers = deps.issuersOf(tenant.id);
      const sources: ExportSources = {
        usage: createUsageExport(reading.usageEvents),
        audit: createAuditExport(reading.audit),
        tenant: createTenantExport({ tenant, data: reading, issuers, clock }),
      };
      const exports = createExports({ scope, sources, links: exportLinks, addressOf: exportAddress });
      const audit = createAuditService(reading.audit, reading.cursors);
      const parkedWork = (page: PageArguments) => reading.parkedWork.list(pageRequest(page));
      const origin = { ipAddress, userAgent };
      const apiKeys = createApiKeyService({
        ...{ scope, store: stores.apiKeys, usage: reading.operationUsage, changed: deps.apiKeys.changed, clock },
      });
      const operations = createOperationService({
        scope,
        store: stores.operations,
        check: deps.checkOperation,
        allowedIds: async () => (await deps.apiKeys.find(tenant.id, principal.userId))?.operationIds ?? null,
        changed: (index) => deps.operationGate.changed(tenant.id, index),
        clock,
      });
      const changePassword = (input: PasswordChange) => passwords.change(scope, input, origin);
      const people = { users, apiKeys, operations, issuers, changePassword };
      const usage = { usage: reading.usage, liveUsage: stores.liveUsage, exports, alerts: stores.alerts };
      return { scope, tenant, configuration, ...people, conversations, turns, ...usage, parkedWork, audit, loaders };
    },
  };
}
