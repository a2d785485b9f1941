import type { Clock } from '../kernel/clock.ts';
import { AppError, badInput } from '../kernel/errors.ts';
import { checkName } from '../tenancy/names.ts';
import { isOperator } from '../tenancy/principal.ts';
import { tenantInvalid, type TenantScope } from '../tenancy/scope.ts';
import { changeTenant } from './change.ts';
import {
  checkAgentIds,
  checkFeatures,
  checkKnowledgeBaseIds,
  checkOrigins,
  checkRetentionDays,
  mergeLimits,
  type LimitsInput,
} from './input.ts';
import { UNLIMITED, type FeatureFlag, type Tenant } from './model.ts';
import type { AgentOffer, TenantDirectory } from './ports.ts';

export interface UpdateTenant {
  readonly name?: string | null | undefined;
  readonly agentIds?: readonly string[] | null | undefined;
  readonly knowledgeBaseIds?: readonly string[] | null | undefined;
  readonly limits?: LimitsInput | null | undefined;
  readonly features?: readonly FeatureFlag[] | null | undefined;
  readonly allowedOrigins?: readonly string[] | null | undefined;
  /** Null keeps conversations for ever. */
  readonly conversationRetentionDays?: number | null | undefined;
  readonly expectedVersion?: number | null | undefined;
}

/** The configuration of one tenant, as one caller may change it. */
export interface TenantConfiguration {
  /**
   * Changes what the input names, and leaves the rest as it is, also where somebody else changes that at the same time.
   * @throws BAD_USER_INPUT; FORBIDDEN for what only an operator may change; CONFLICT with `currentVersion` when the tenant is
   * not at `expectedVersion` (any more).
   */
  update(input: UpdateTenant): Promise<Tenant>;
}

export interface ConfigurationDependencies {
  readonly scope: TenantScope;
  readonly directory: Pick<TenantDirectory, 'get' | 'replace'>;
  readonly agents: AgentOffer;
  readonly changed: (tenant: Tenant) => void;
  readonly clock: Clock;
}

/** Fields that are left out, not set to nothing: an explicit null could be meant as "all of it" or as "none". */
const NEVER_NULL = ['name', 'agentIds', 'knowledgeBaseIds', 'limits', 'features', 'allowedOrigins'] as const;
/** What costs the installation, or opens data to the tenant. */
const FOR_OPERATORS = ['agentIds', 'knowledgeBaseIds', 'limits'] as const;

export function createTenantConfiguration(deps: ConfigurationDependencies): TenantConfiguration {
  const { scope, directory, agents, changed, clock } = deps;

  /** What the input makes of a tenant. Everything is checked before anything is read. */
  function changeOf(input: UpdateTenant): (current: Tenant) => Tenant {
    const name = input.name == null ? null : checkName(input.name);
    const agentIds = input.agentIds && checkAgentIds(input.agentIds, agents);
    const knowledgeBaseIds = input.knowledgeBaseIds && checkKnowledgeBaseIds(input.knowledgeBaseIds);
    const features = input.features && checkFeatures(input.features);
    const allowedOrigins = input.allowedOrigins && checkOrigins(input.allowedOrigins);
    const days = input.conversationRetentionDays;
    if (days !== undefined) checkRetentionDays(days);
    mergeLimits(UNLIMITED, input.limits ?? {});
    return (current) => ({
      ...current,
      name: name ?? current.name,
      agentIds: agentIds ?? current.agentIds,
      knowledgeBaseIds: knowledgeBaseIds ?? current.knowledgeBaseIds,
      limits: mergeLimits(current.limits, input.limits ?? {}),
      features: features ?? current.features,
      allowedOrigins: allowedOrigins ?? current.allowedOrigins,
      conversationRetentionDays: days === undefined ? current.conversationRetentionDays : days,
    });
  }

  return {
    async update(input) {
      const empty = NEVER_NULL.find((field) => input[field] === null);
      if (empty) throw badInput(`\`${empty}\` cannot be null: leave it out to keep it as it is.`, empty);
      const reserved = FOR_OPERATORS.find((field) => input[field] !== undefined);
      if (reserved && !isOperator(scope.principal))
        throw new AppError('FORBIDDEN', `Only an operator of the installation may change \`${reserved}\`.`);
      const change = changeOf(input);

      const tenant = await changeTenant({ directory, clock }, scope.tenantId, (current) => {
        if (input.expectedVersion != null && input.expectedVersion !== current.version) {
          const { version: currentVersion } = current;
          throw new AppError('CONFLICT', 'The tenant was changed meanwhile.', { currentVersion });
        }
        return change(current);
      });
      if (!tenant) throw tenantInvalid();
      changed(tenant);
      return tenant;
    },
  };
}
