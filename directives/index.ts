import { mapSchema, MapperKind } from '@graphql-tools/utils';
import { defaultFieldResolver, type GraphQLFieldResolver, type GraphQLSchema } from 'graphql';
import type { ContextBinder, RequestContext } from '../src/context.ts';
import { chain, type Access, type Field } from './access.ts';
import { createAuditing } from './audited.ts';
import { hasRole } from './hasRole.ts';
import { policyFaults } from './policy.ts';
import { createProofs } from './proofs.ts';
import { publicAccess } from './public.ts';
import { checkOwner, yieldsOwned } from './tenantOwned.ts';
import { createTenantBinding } from './tenantScoped.ts';

type Resolve = GraphQLFieldResolver<unknown, RequestContext>;

/** What stands before each open subscription, by the context it was opened with. */
const guards = new WeakMap<RequestContext, Access>();

/** Asks the guards of an open subscription again, as an event of it would. They throw when it may not go on. */
export const guardAgain = async (opened: RequestContext, now: RequestContext): Promise<void> => {
  await guards.get(opened)?.(now);
};

/**
 * Makes the schema's directives hold: every resolver runs with the context its directives grant, and no object of another
 * tenant leaves one.
 *
 * @throws if the schema breaks the isolation policy: the server must not start then.
 */
export function applyDirectives(schema: GraphQLSchema, binder: ContextBinder): GraphQLSchema {
  const faults = policyFaults(schema);
  if (faults.length > 0) throw new Error(`The schema breaks the isolation policy:\n- ${faults.join('\n- ')}`);

  const binding = createTenantBinding(binder);
  const proofs = createProofs();
  const auditing = createAuditing(binder, binding, proofs);
  // Roles first: they cost no read, and a caller without the role learns nothing of the tenant.
  const directives = [publicAccess(binder, proofs), hasRole(binder), binding.directive];

  function accessOf(field: Field, typeName: string): Access | null {
    const steps = directives.flatMap((directive) => directive(schema, field, typeName) ?? []);
    if (steps.length <= 1) return steps[0] ?? null;
    // The last step binds by the request's own context, so that all fields of a request share one binding.
    return (context) => steps.reduce<ReturnType<Access>>((made, step) => chain(made, () => step(context)), context);
  }

  /** Wrappers are not async functions: a promise for every field would make long lists twice as slow. */
  const guard = (field: Field, name: string, access: Access | null): Resolve => {
    const resolve = field.resolve ?? (defaultFieldResolver as Resolve);
    const owned = yieldsOwned(schema, field);
    return (source, args, context, info) => {
      context.signal.throwIfAborted(); // of several mutations, those that have not begun never do
      const value: unknown = access
        ? chain(access(context), (granted) => resolve(source, args, granted, info))
        : resolve(source, args, context, info);
      return owned
        ? chain(value, (ready) => checkOwner(ready, binding.bound(context)?.tenant.scope.tenantId ?? null, name))
        : value;
    };
  };

  return mapSchema(schema, {
    [MapperKind.OBJECT_FIELD]: (field: Field, fieldName: string, typeName: string) => {
      const access = accessOf(field, typeName);
      if (!access && !yieldsOwned(schema, field)) return undefined;
      const guarded = guard(field, `${typeName}.${fieldName}`, access);
      if (!access) return { ...field, resolve: guarded };
      const recorded = auditing(schema, field, typeName, fieldName);
      const resolve = recorded(guarded);
      const { subscribe } = field;
      if (!subscribe) return { ...field, resolve };
      // The guard stands before the event source too: a resolver alone would refuse only after the stream was opened.
      const opened: Resolve = (source, args, context, info) => {
        guards.set(context, access);
        return chain(access(context), (granted) => subscribe(source, args, granted, info));
      };
      return { ...field, resolve, subscribe: recorded(opened) };
    },
  });
}
