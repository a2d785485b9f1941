import { getDirective } from '@graphql-tools/utils';
import type { ContextBinder } from '../src/context.ts';
import type { AccessDirective } from './access.ts';

/** `@public`: anybody may call. The resolver gets what signs people in, and what they may see of themselves. */
export const publicAccess =
  ({ auth, passwords, tenantOf }: ContextBinder): AccessDirective =>
  (schema, field) =>
    getDirective(schema, field, 'public') ? (context) => ({ ...context, auth, passwords, tenantOf }) : null;
