import { getDirective } from '@graphql-tools/utils';
import type { ContextBinder } from '../src/context.ts';
import { AppError } from '../src/kernel/errors.ts';
import type { Role } from '../src/tenancy/principal.ts';
import type { AccessDirective } from './access.ts';
import { caller } from './caller.ts';

/** `@hasRole(anyOf:)`: the caller holds one of the roles. The resolver gets the caller. */
export const hasRole =
  (binder: ContextBinder): AccessDirective =>
  (schema, field) => {
    const [directive] = getDirective(schema, field, 'hasRole') ?? [];
    if (!directive) return null;
    const { anyOf } = directive as { anyOf: readonly Role[] };
    return (context) => {
      const principal = caller(context, binder.now());
      if (!principal.roles.some((role) => anyOf.includes(role))) {
        throw new AppError('FORBIDDEN', 'Your role does not allow this.');
      }
      return { ...context, principal, ownTenant: () => binder.tenantOf(principal) };
    };
  };
