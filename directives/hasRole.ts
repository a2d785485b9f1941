import { getDirective } from '@graphql-tools/utils';
import type { ContextBinder } from '../src/context.ts';
import type { Role } from '../src/tenancy/principal.ts';
import type { AccessDirective } from './access.ts';
import { caller, requireRole, signedIn } from './caller.ts';

/** `@hasRole(anyOf:)`: the caller holds one of the roles. The resolver gets the caller. */
export const hasRole =
  (binder: ContextBinder): AccessDirective =>
  (schema, field) => {
    const [directive] = getDirective(schema, field, 'hasRole') ?? [];
    if (!directive) return null;
    const { anyOf } = directive as { anyOf: readonly Role[] };
    return (context) => {
      const principal = caller(context);
      requireRole(principal, anyOf);
      return { ...context, ...signedIn(binder, principal) };
    };
  };
