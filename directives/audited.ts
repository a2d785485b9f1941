import type { GraphQLFieldResolver, GraphQLSchema } from 'graphql';
import type { AuditedAct, ContextBinder, RequestContext } from '../src/context.ts';
import { AppError, type ErrorCode } from '../src/kernel/errors.ts';
import { isOperator, type Actor } from '../src/tenancy/principal.ts';
import { isPromise, type Field } from './access.ts';
import { auditedOf, valueAt, type Audited, type Call } from './audit-paths.ts';
import type { Proofs } from './proofs.ts';
import type { TenantBinding } from './tenantScoped.ts';

type Resolve = GraphQLFieldResolver<unknown, RequestContext>;

/** What tells a caller that they may not, rather than that something went wrong. */
const DENIALS: ReadonlySet<ErrorCode> = new Set([
  ...(['UNAUTHENTICATED', 'FORBIDDEN', 'TENANT_REQUIRED', 'TENANT_INVALID', 'TENANT_SUSPENDED'] as const),
]);
const isDenial = (error: unknown) => error instanceof AppError && DENIALS.has(error.code);

/** An id as it may stand in the trail: whatever else was sent in its place is not repeated there. */
const ID = /^[A-Za-z0-9._-]{1,128}$/;
const PLACEHOLDER = /\/\{(.+)\}$/;

type About = Pick<AuditedAct, 'resource' | 'details' | 'named'>;

/** What the trail says of a call: what the directive allows, and no more. */
function aboutCall({ resource, details = [], tenant }: Audited, call: Call): About {
  const named = tenant === undefined ? null : valueAt(call, tenant);
  return {
    resource: resource.replace(PLACEHOLDER, (_placeholder, path: string) => {
      const id = valueAt(call, path);
      return typeof id === 'string' && ID.test(id) ? `/${id}` : '';
    }),
    details: Object.fromEntries(
      details.flatMap((path) => {
        const value = detailOf(valueAt(call, path));
        return value === undefined ? [] : [[path.split('.').at(-1), value]];
      }),
    ) as About['details'],
    named: typeof named === 'string' ? named : null,
  };
}

function detailOf(value: unknown): string | number | boolean | null | undefined {
  if (value === null || typeof value === 'number' || typeof value === 'boolean') return value;
  if (value instanceof Date) return value.toISOString();
  return typeof value === 'string' && ID.test(value) ? value : undefined;
}

/** Who a call showed to be calling: signing in is what tells. */
const signedIn = (result: unknown): Actor | null =>
  (result as { readonly principal?: Actor } | null | undefined)?.principal ?? null;

/** What is sent without proof, and did nothing, is no success: it can be sent without end, in anybody's name. */
const unproved = () => new AppError('UNAUTHENTICATED', 'What was sent proves nothing.');

/**
 * `@audited`: every mutation is recorded, however it ends; of everything else, what a caller was denied, and what an operator did
 * inside a tenant. It stands around the other directives, so that what they refuse is recorded too. The answer does not wait for it.
 */
export function createAuditing({ audit }: ContextBinder, { bound, entered }: TenantBinding, proofs: Proofs) {
  return (schema: GraphQLSchema, field: Field, typeName: string, fieldName: string) => {
    const roots = [schema.getQueryType(), schema.getMutationType(), schema.getSubscriptionType()];
    const isRoot = roots.some((type) => type?.name === typeName);
    const audited = isRoot ? auditedOf(schema, field) : null;
    const action = audited?.action ?? `${isRoot ? '' : 'query.'}${typeName.toLowerCase()}.${fieldName}`;

    function record(context: RequestContext, call: Call, error: unknown) {
      const about = audited ? aboutCall(audited, call) : { resource: 'tenant', details: {}, named: null };
      // What a call with `@public` sends says by itself who is calling, and where: no matter as whom, and in which tenant, the rest is sent.
      const byItself = about.named !== null;
      const tenant = byItself ? null : (bound(context)?.tenant ?? null);
      const proved = signedIn(call.result) ?? proofs.take(context);
      const principal = byItself ? proved : (proved ?? context.identity.principal);
      const acting = tenant !== null && principal !== null && isOperator(principal);
      // An event was recorded when its subscription was opened.
      if (!audited && !isDenial(error) && !(acting && !context.event)) return;
      const failure = byItself && principal === null ? (error ?? unproved()) : error;
      audit(context, { action, principal, tenantId: tenant?.scope.tenantId ?? null, error: failure, ...about });
    }

    return (run: Resolve): Resolve =>
      (source, args: Call['args'], context, info) => {
        // Inside what another field has entered nothing is recorded again.
        if (!isRoot && entered(context)) return run(source, args, context, info);
        const done = <T>(result: T): T => {
          record(context, { args, result }, null);
          return result;
        };
        const failed = (error: unknown): never => {
          record(context, { args, result: null }, error);
          throw error;
        };
        try {
          const value: unknown = run(source, args, context, info);
          return isPromise(value) ? value.then(done, failed) : done(value);
        } catch (error) {
          return failed(error);
        }
      };
  };
}
