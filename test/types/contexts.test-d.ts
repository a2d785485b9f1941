/**
 * Layer 1 of the isolation, checked by `npm run typecheck`: what a resolver's context reaches is decided by the directives of
 * its field. Each `@ts-expect-error` fails the type check if the line under it should ever compile.
 */
import type DataLoader from 'dataloader';
import type {
  ConversationResolvers,
  MessageResolvers,
  MutationResolvers,
  QueryResolvers,
  Resolvers,
  SubscriptionResolvers,
  TenantResolvers,
  UsageSummaryResolvers,
  ViewerResolvers,
} from '../../resolvers/types.generated.ts';
import type { AccountStore, SessionStore } from '../../src/auth/ports.ts';
import type { AuthService } from '../../src/auth/service.ts';
import type { ContextBinder, InTenant, Public, RequestContext, SignedIn, TenantServices } from '../../src/context.ts';
import type { ConversationLoaders } from '../../src/conversations/loaders.ts';
import type {
  ConversationStore,
  DueWorkStore,
  MessageStore,
  StreamLog,
  TurnMeter,
  TurnStore,
} from '../../src/conversations/ports.ts';
import type { ConversationService } from '../../src/conversations/service.ts';
import type { TurnService } from '../../src/conversations/turns.ts';
import type { Exports } from '../../src/exports/service.ts';
import type { Cursors } from '../../src/tenancy/cursor.ts';
import type { TenantDirectory } from '../../src/tenants/ports.ts';
import type { TenantService } from '../../src/tenants/service.ts';
import type { UsageStore } from '../../src/usage/ports.ts';
import type { UsageService } from '../../src/usage/service.ts';
import type { UserStore } from '../../src/users/ports.ts';

// ---- A field without @tenantScoped has no tenant ------------------------------------------------------------------------

export const fieldOfAnOwnedType: ConversationResolvers['title'] = ({ title }, _args, context) => {
  // @ts-expect-error `Conversation.title` has no directive
  void context.tenant;
  return title;
};

export const destructured: MessageResolvers['content'] = (
  { content },
  _args,
  // @ts-expect-error `Message.content` has no directive
  { tenant },
) => {
  void tenant;
  return content;
};

export const fieldOfTheTenant: TenantResolvers['agents'] = ({ agentIds }, _args, context) => {
  // @ts-expect-error a Tenant shows its own row and the configuration, nothing that is stored for it
  void context.tenant;
  return context.agents.among(agentIds);
};

export const fieldOfTheViewer: ViewerResolvers['id'] = ({ userId }, _args, context) => {
  // @ts-expect-error `Viewer.id` has no directive, though `Query.viewer` has one
  void context.ownTenant;
  return userId;
};

export const objectForm: UsageSummaryResolvers['tokens'] = {
  resolve: ({ tokens }, _args, context) => {
    // @ts-expect-error the other form of a resolver is no way around it
    void context.tenant;
    return tokens;
  },
};

// ---- @hasRole gives the caller, and no tenant's data --------------------------------------------------------------------

export const role: QueryResolvers['viewer'] = (_root, _args, context) => {
  // @ts-expect-error `Query.viewer` has only @hasRole
  void context.tenant;
  // @ts-expect-error it cannot sign anybody in
  void context.auth;
  return { ...context.principal, tenant: context.ownTenant };
};

// ---- @public gives what signs people in, and no store -------------------------------------------------------------------

export const everybody: MutationResolvers['signOut'] = async (_root, { refreshToken }, context) => {
  // @ts-expect-error `Mutation.signOut` has only @public
  void context.tenant;
  // @ts-expect-error nobody need be signed in
  void context.principal;
  // @ts-expect-error the service shows no store
  void context.auth.accountsOf;
  await context.auth.signOut(refreshToken);
  return true;
};

// ---- @tenantScoped gives the services of one tenant, none of which takes a tenant ---------------------------------------

export const scoped: QueryResolvers['conversation'] = (_root, { id }, { tenant }) => {
  // @ts-expect-error stores stay behind the services
  void tenant.stores;
  // @ts-expect-error and so do those of other tenants
  void tenant.dataOf;
  // @ts-expect-error no service takes a tenant
  void tenant.conversations.find(id, tenant.scope.tenantId);
  return tenant.conversations.find(id);
};

export const scopedSubscription: SubscriptionResolvers['messageStream'] = {
  subscribe: (_root, { messageId, after }, { tenant }) => {
    // @ts-expect-error a text is no tenant: only `parseTenantId` makes one
    tenant.scope.tenantId satisfies 'globex';
    return tenant.turns.watch(messageId, after) as never;
  },
  resolve: (_event: unknown) => null as never,
};

// ---- A root field without a resolver, or with one that expects too much, does not compile -------------------------------

declare const complete: Required<Resolvers>;
// @ts-expect-error every root field needs its resolver
export const incomplete: Resolvers['Query'] = { viewer: complete.Query.viewer };

export const greedy: Resolvers['Conversation'] = {
  ...complete.Conversation,
  // @ts-expect-error a resolver that wants a tenant does not fit a field that has none
  title: ({ title }, _args, _context: InTenant<RequestContext>) => title,
};

// ---- Whatever way is taken through a poor context, no store or service is at its end ------------------------------------

/** `unknown` would swallow every union it stands in. Nothing can be called on it, so it leads nowhere. */
type Known<T> = unknown extends T ? never : T;

/** One step on: the values of an object, the elements of a list, the result of a call. */
type Step<T> = T extends (...args: never[]) => infer R
  ? Known<Awaited<R>>
  : T extends readonly (infer E)[]
    ? Known<E>
    : T extends object
      ? { [K in keyof T]-?: Known<T[K]> }[keyof T]
      : never;

/** Everything within five steps. */
type Within<T, Taken extends 0[] = []> = Taken['length'] extends 5 ? T : T | Within<Step<T>, [...Taken, 0]>;

type Stores =
  | AccountStore
  | SessionStore
  | ConversationStore
  | MessageStore
  | TurnStore
  | DueWorkStore
  | StreamLog
  | TurnMeter
  | UsageStore
  | UserStore
  | TenantDirectory
  | Cursors;
type Services =
  | ConversationService
  | TurnService
  | UsageService
  | Exports
  | TenantService
  | TenantServices
  | ConversationLoaders
  | DataLoader<string, unknown>
  | ContextBinder;

type Reached<Context, Wanted> = Extract<Within<Context>, Wanted>;
type Nothing<T> = [T] extends [never] ? true : false;

export const reached = {
  request: true satisfies Nothing<Reached<RequestContext, Stores | Services | AuthService>>,
  signedIn: true satisfies Nothing<Reached<SignedIn<RequestContext>, Stores | Services | AuthService>>,
  public: true satisfies Nothing<Reached<Public<RequestContext>, Stores | Services>>,
  // The usage service is what meters turns, too.
  inTenant: true satisfies Nothing<Reached<InTenant<RequestContext>, Exclude<Stores, TurnMeter>>>,
  // The measure itself works: it finds what is there.
  auth: false satisfies Nothing<Reached<Public<RequestContext>, AuthService>>,
  conversations: false satisfies Nothing<Reached<InTenant<RequestContext>, ConversationService>>,
  loaders: false satisfies Nothing<Reached<InTenant<RequestContext>, ConversationLoaders>>,
  pastUnknown: false satisfies Nothing<Reached<{ fault: { cause?: unknown }; store: UserStore }, Stores>>,
  deepStore: false satisfies Nothing<Reached<{ a: () => Promise<{ b: { c: UserStore }[] }> }, Stores>>,
};
