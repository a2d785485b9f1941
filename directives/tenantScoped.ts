import { getDirective } from '@graphql-tools/utils';
import type { ContextBinder, InTenant, RequestContext } from '../src/context.ts';
import { chain, type AccessDirective, type MaybePromise } from './access.ts';
import { AppError } from '../src/kernel/errors.ts';
import type { ApiKeyScope } from '../src/tenancy/principal.ts';
import { caller, requireScope, signedIn } from './caller.ts';

/** The tenants that requests are bound to. */
export interface TenantBinding {
  /** `@tenantScoped`: the resolver gets the services of the caller's tenant. */
  readonly directive: AccessDirective;
  /** The context a request was bound with; null where no field with `@tenantScoped` has been entered yet. */
  readonly bound: (context: RequestContext) => InTenant<RequestContext> | null;
  /** Whether a field with `@tenantScoped` has been entered already, with whatever success. */
  readonly entered: (context: RequestContext) => boolean;
}

type Enter = (context: RequestContext) => MaybePromise<InTenant<RequestContext>>;

interface Entry {
  ready: InTenant<RequestContext> | null;
  readonly pending: Promise<InTenant<RequestContext>>;
}

/**
 * Binds a request to its tenant once, whatever number of its fields ask. The bound services live beside the request's context,
 * never in it, so a resolver without the directive has no way to them.
 */
export function createTenantBinding(binder: ContextBinder): TenantBinding {
  const entries = new WeakMap<RequestContext, Entry>();

  function enter(context: RequestContext): ReturnType<Enter> {
    const principal = caller(context);
    const known = entries.get(context);
    if (known) return known.ready ?? known.pending;
    const pending = binder.bindTenant(context, principal).then((tenant) => {
      return (entry.ready = { ...context, ...signedIn(binder, principal), tenant });
    });
    const entry: Entry = { ready: null, pending };
    entries.set(context, entry);
    return pending;
  }

  /** In a tenant that is being removed nobody writes any more, not even an operator: its rows could never all be gone. */
  const enterToWrite: Enter = (context) =>
    chain(enter(context), (granted) => {
      if (granted.tenant.tenant.status === 'DELETING')
        throw new AppError('TENANT_SUSPENDED', 'This tenant is being removed.');
      return granted;
    });

  /** An API key enters the tenant only for what its scopes allow; what it finds inside is entered already. */
  const scoped =
    (scope: ApiKeyScope, next: Enter): Enter =>
    (context) => {
      if (!entries.has(context)) requireScope(caller(context), scope);
      return next(context);
    };

  return {
    directive: (schema, field, typeName) => {
      if (!getDirective(schema, field, 'tenantScoped')) return null;
      const isMutation = typeName === schema.getMutationType()?.name;
      return isMutation ? scoped('CONVERSE', enterToWrite) : scoped('READ', enter);
    },
    bound: (context) => entries.get(context)?.ready ?? null,
    entered: (context) => entries.has(context),
  };
}
