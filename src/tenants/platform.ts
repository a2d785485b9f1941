import { isoTime, type Clock } from '../kernel/clock.ts';
import { AppError } from '../kernel/errors.ts';
import { pageRequest, type Page, type PageArguments } from '../kernel/page.ts';
import { checkEmail, checkName } from '../tenancy/names.ts';
import { newUserId } from '../tenancy/principal.ts';
import { parseTenantId, type TenantId } from '../tenancy/tenant-id.ts';
import { changeTenant } from './change.ts';
import {
  checkAgentIds,
  checkKnowledgeBaseIds,
  checkRetentionDays,
  checkSlug,
  mergeLimits,
  type LimitsInput,
} from './input.ts';
import { UNLIMITED, type Founding, type Removal, type Tenant, type TenantStatus } from './model.ts';
import type { Administrator, AgentOffer, FirstAdministrators, RemovalStore, TenantDirectory } from './ports.ts';

export interface CreateTenant {
  readonly slug: string;
  readonly name: string;
  readonly adminEmail: string;
  readonly adminPassword: string;
  readonly adminName?: string | null | undefined;
  readonly agentIds?: readonly string[] | null | undefined;
  readonly knowledgeBaseIds?: readonly string[] | null | undefined;
  readonly limits?: LimitsInput | null | undefined;
  readonly conversationRetentionDays?: number | null | undefined;
}

/** What the operators of the installation do with its tenants, from outside. */
export interface PlatformService {
  /**
   * Sets a tenant up with its first administrator. The same input again returns the same tenant and finishes what a crash
   * left half done.
   * @throws BAD_USER_INPUT; CONFLICT when the slug was used with other input, or was once a tenant that is gone.
   */
  createTenant(input: CreateTenant): Promise<{ readonly tenant: Tenant; readonly admin: Administrator }>;
  /** `DELETING` begins the tenant's removal. @throws NOT_FOUND; CONFLICT for a tenant that is being removed: there is no way back from that. */
  setStatus(tenantId: string, status: TenantStatus): Promise<Tenant>;
  /** How far the removal of a tenant is; null where none was begun. */
  removal(tenantId: string): Promise<Removal | null>;
  /** In alphabetical order of their slugs. @throws BAD_USER_INPUT */
  tenants(page: PageArguments): Promise<Page<Tenant>>;
}

export interface PlatformDependencies {
  readonly directory: TenantDirectory;
  readonly agents: AgentOffer;
  readonly administrators: FirstAdministrators;
  readonly removals: Pick<RemovalStore, 'begin' | 'get'>;
  /** Told of a tenant that was made or changed here. */
  readonly changed: (tenant: Tenant) => void;
  readonly clock: Clock;
}

type Request = Omit<Founding, 'adminId' | 'passwordHash'>;

const sameRequest = (a: Request, b: Request): boolean => {
  const parts = ({ name, adminName, adminEmail, agentIds, knowledgeBaseIds, limits, ...rest }: Request) => {
    const { requestsPerMinute, pointsPerMinute, concurrentGenerations, tokensPerDay, tokensPerMonth } = limits;
    const numbers = [requestsPerMinute, pointsPerMinute, concurrentGenerations, tokensPerDay, tokensPerMonth];
    return JSON.stringify([
      name,
      adminName,
      adminEmail,
      agentIds,
      knowledgeBaseIds,
      numbers,
      rest.conversationRetentionDays,
    ]);
  };
  return parts(a) === parts(b);
};

export function createPlatformService(deps: PlatformDependencies): PlatformService {
  const { directory, agents, administrators, removals, changed, clock } = deps;

  function checked(input: CreateTenant): Request {
    const adminEmail = checkEmail(input.adminEmail, 'adminEmail');
    return {
      name: checkName(input.name),
      adminName: input.adminName == null ? adminEmail : checkName(input.adminName, 'adminName'),
      adminEmail,
      agentIds: input.agentIds == null ? null : checkAgentIds(input.agentIds, agents),
      knowledgeBaseIds: input.knowledgeBaseIds == null ? null : checkKnowledgeBaseIds(input.knowledgeBaseIds),
      limits: mergeLimits(UNLIMITED, input.limits ?? {}),
      conversationRetentionDays: checkRetentionDays(input.conversationRetentionDays ?? null),
    };
  }

  function tenantOf(id: TenantId, { name, limits, conversationRetentionDays, ...founding }: Founding): Tenant {
    const agentIds = founding.agentIds ?? agents.ids();
    const knowledgeBaseIds = founding.knowledgeBaseIds ?? agents.knowledgeBasesOf(agentIds);
    const at = isoTime(clock.now());
    return {
      ...{ id, name, status: 'ACTIVE', agentIds, knowledgeBaseIds, limits, features: [], conversationRetentionDays },
      ...{ alertPercentages: null, allowedOrigins: [], createdAt: at, updatedAt: at, version: 1 },
    };
  }

  return {
    async createTenant(input) {
      const id = checkSlug(input.slug);
      const request = checked(input);
      const who = { name: request.adminName, email: request.adminEmail };
      const before = await directory.founding(id);
      const passwordHash = before ? '' : await administrators.hash(input.adminPassword, who, id);
      const founding = before ?? { ...request, adminId: newUserId(clock.now()), passwordHash };
      // The tenant's row holds all that the rest is made of, so that whoever comes again can finish it.
      await directory.create(tenantOf(id, founding), founding);
      const stored = await directory.founding(id);
      const mine = stored?.adminId === founding.adminId && before === null;
      const same = stored !== null && sameRequest(stored, request);
      if (!stored || !same || !(mine || (await administrators.verify(input.adminPassword, stored.passwordHash))))
        throw new AppError('CONFLICT', 'This slug is, or once was, the slug of another tenant.');
      if ((await directory.get(id))?.status === 'DELETING')
        throw new AppError('CONFLICT', 'This tenant is being removed.');

      const admin = await administrators.ensure(id, {
        id: stored.adminId,
        name: stored.adminName,
        email: stored.adminEmail,
        passwordHash: stored.passwordHash,
      });
      const tenant = await directory.get(id);
      if (!tenant) throw new AppError('CONFLICT', 'The tenant was removed meanwhile.');
      changed(tenant);
      return { tenant, admin };
    },

    async setStatus(tenantId, status) {
      const id = parseTenantId(tenantId);
      // Entered first: a tenant is never closed without anybody to remove it.
      if (id && status === 'DELETING' && (await directory.get(id))) await removals.begin(id, isoTime(clock.now()));
      const tenant =
        id &&
        (await changeTenant({ directory, clock }, id, (current) => {
          if (current.status === 'DELETING' && status !== 'DELETING')
            throw new AppError('CONFLICT', 'This tenant is being removed.', { currentVersion: current.version });
          return { ...current, status };
        }));
      if (!tenant) throw new AppError('NOT_FOUND', 'There is no such tenant.');
      changed(tenant);
      return tenant;
    },

    async removal(tenantId) {
      const id = parseTenantId(tenantId);
      return id && removals.get(id);
    },

    tenants: async (page) => directory.page(pageRequest(page)),
  };
}
