import { getDirective } from '@graphql-tools/utils';
import type { ContextBinder } from '../src/context.ts';
import type { Actor } from '../src/tenancy/principal.ts';
import type { AccessDirective } from './access.ts';
import type { Proofs } from './proofs.ts';

/** `@public`: anybody may call. The resolver gets what signs people in, and what they may see of themselves. */
export const publicAccess =
  ({ auth, passwords, tenantOf }: ContextBinder, proofs: Proofs): AccessDirective =>
  (schema, field) =>
    getDirective(schema, field, 'public')
      ? (context) => ({
          ...context,
          auth,
          passwords,
          tenantOf,
          proved: (actor: Actor | null) => proofs.note(context, actor),
        })
      : null;
