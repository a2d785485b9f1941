import type DataLoader from 'dataloader';
import type { AgentCatalogue } from './agents/catalogue.ts';
import type { AlertService } from './alerts/service.ts';
import type { AuditDetails } from './audit/model.ts';
import type { AuditService } from './audit/service.ts';
import type { SignedInSession } from './auth/model.ts';
import type { PasswordChange, PasswordService } from './auth/password-service.ts';
import type { AuthService } from './auth/service.ts';
import type { ConversationLoaders } from './conversations/loaders.ts';
import type { ConversationService } from './conversations/service.ts';
import type { TurnService } from './conversations/turns.ts';
import type { Exports } from './exports/service.ts';
import type { Page, PageArguments } from './kernel/page.ts';
import type { IssuerService } from './federation/service.ts';
import type { ParkedWork } from './parked/model.ts';
import type { ApiKeyService } from './partners/api-keys.ts';
import type { OperationService } from './partners/publishing.ts';
import type { Actor, Principal } from './tenancy/principal.ts';
import type { TenantScope } from './tenancy/scope.ts';
import type { TenantId } from './tenancy/tenant-id.ts';
import type { TenantConfiguration } from './tenants/configuration.ts';
import type { Tenant } from './tenants/model.ts';
import type { PlatformService } from './tenants/platform.ts';
import type { Budget } from './tenants/request-limit.ts';
import type { LiveUsage } from './usage/model.ts';
import type { UsageService } from './usage/service.ts';
import type { UserAdministration } from './users/administration.ts';
import type { User } from './users/model.ts';

/** Who sent a request, as far as its credential proves it. A bad credential is a fault that surfaces where a caller is needed, and so is one that nobody could look at. */
export type Identity =
  { readonly principal: Principal; readonly fault: null } | { readonly principal: null; readonly fault: Error | null };

/** What an operation costs by the schema's weights (docs/limits.md), in points. */
export interface Bill {
  readonly fieldCost: number;
  readonly typeCost: number;
  /** Both together, rounded up: what is charged. */
  readonly points: number;
  /** The most points that an operation of this caller may cost. */
  readonly ceiling: number;
  /** What the tenant's budget had left after it; null as long as it was charged to none. */
  budget: Budget | null;
}

/** What every resolver gets. There is no store in it, and no way to one. */
export interface RequestContext {
  readonly requestId: string;
  readonly identity: Identity;
  /** The `x-tenant-id` of the request. */
  readonly namedTenant: string | null;
  /** The origin of the page that sends it; null where none does, or one of this server's own. */
  readonly origin: string | null;
  readonly ipAddress: string | null;
  readonly userAgent: string | null;
  /** Whether it is made for an event of a subscription, which was counted as a request when it was opened. */
  readonly event: boolean;
  /** What the operation costs; null where it is not known yet, or nothing is to be charged. */
  readonly bill: Bill | null;
  /** Ends with the operation: when its time is over, or when its caller has gone. Nothing is read for it any more then. */
  readonly signal: AbortSignal;
  /** This installation's configuration, not any tenant's data. */
  readonly agents: AgentCatalogue;
}

/** What a field with `@public` gets besides. */
export type Public<C> = C & {
  readonly auth: AuthService;
  readonly passwords: Pick<PasswordService, 'accept'>;
  /** The tenant somebody who has just signed in belongs to; null for an operator. */
  readonly tenantOf: (principal: Principal) => Promise<Tenant | null>;
  /** Tells the audit trail whom the call showed to be calling, where its answer does not: null where it showed nobody. */
  readonly proved: (actor: Actor | null) => void;
};

/** What a field with `@hasRole` gets besides. */
export type SignedIn<C> = C & {
  readonly principal: Principal;
  /** The tenant the caller belongs to; null for an operator. */
  readonly ownTenant: () => Promise<Tenant | null>;
  /** What operators do with tenants, from outside. @throws FORBIDDEN for anybody else, whatever the field's directives say. */
  readonly platform: () => PlatformService;
};

/** Everything of one tenant, as one caller may use it. */
export interface TenantServices {
  readonly scope: TenantScope;
  readonly tenant: Tenant;
  readonly configuration: TenantConfiguration;
  readonly users: UserAdministration;
  readonly apiKeys: ApiKeyService;
  readonly issuers: IssuerService;
  readonly operations: OperationService;
  /** The caller's own. */
  readonly changePassword: (input: PasswordChange) => Promise<SignedInSession>;
  readonly conversations: ConversationService;
  readonly turns: TurnService;
  readonly usage: UsageService;
  readonly liveUsage: () => AsyncIterableIterator<LiveUsage>;
  readonly audit: AuditService;
  readonly exports: Exports;
  /** @throws BAD_USER_INPUT for paging arguments that do not go together. */
  readonly parkedWork: (page: PageArguments) => Promise<Page<ParkedWork>>;
  readonly alerts: AlertService;
  readonly loaders: ConversationLoaders & { readonly userById: DataLoader<string, User | null> };
}

/** What a field with `@tenantScoped` gets besides. */
export type InTenant<C> = SignedIn<C> & { readonly tenant: TenantServices };

/** What somebody did or tried, as the audit trail is told of it. */
export interface AuditedAct {
  readonly action: string;
  readonly resource: string;
  readonly details: AuditDetails;
  /** Who acted, as far as it is proved. */
  readonly principal: Actor | null;
  /** The tenant it was done in; null where none was entered. */
  readonly tenantId: TenantId | null;
  /** What a caller who proves nothing says their tenant is: its slug, or a refresh token. */
  readonly named: string | null;
  /** Why it failed; null if it was done. */
  readonly error: unknown;
}

/** Records an act. It returns at once and never throws. */
export type Audit = (context: RequestContext, act: AuditedAct) => void;

/** How the directives make those contexts. It is given to them alone: no resolver ever sees it. */
export interface ContextBinder {
  readonly auth: AuthService;
  readonly audit: Audit;
  readonly platform: PlatformService;
  readonly passwords: PasswordService;
  readonly tenantOf: (principal: Principal) => Promise<Tenant | null>;
  /** @throws TENANT_REQUIRED, TENANT_INVALID, TENANT_SUSPENDED, FORBIDDEN */
  readonly bindTenant: (context: RequestContext, principal: Principal) => Promise<TenantServices>;
}
