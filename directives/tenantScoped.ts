import { getDirective } from '@graphql-tools/utils';
import type { ContextBinder, InTenant, RequestContext } from '../src/context.ts';
import type { AccessDirective, MaybePromise } from './access.ts';
import { caller } from './caller.ts';

/** The tenants that requests are bound to. */
export interface TenantBinding {
  /** `@tenantScoped`: the resolver gets the services of the caller's tenant. */
  readonly directive: AccessDirective;
  /** The context a request was bound with; null where no field with `@tenantScoped` has been entered yet. */
  readonly bound: (context: RequestContext) => InTenant<RequestContext> | null;
}

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

  function enter(context: RequestContext): MaybePromise<InTenant<RequestContext>> {
    const principal = caller(context, binder.now());
    const known = entries.get(context);
    if (known) return known.ready ?? known.pending;
    const pending = binder.bindTenant(context, principal).then((tenant) => {
      const ownTenant = () => binder.tenantOf(principal);
      return (entry.ready = { ...context, principal, ownTenant, tenant });
    });
    const entry: Entry = { ready: null, pending };
    entries.set(context, entry);
    return pending;
  }

  return {
    directive: (schema, field) => (getDirective(schema, field, 'tenantScoped') ? enter : null),
    bound: (context) => entries.get(context)?.ready ?? null,
  };
}
