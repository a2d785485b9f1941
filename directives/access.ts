import type { GraphQLFieldConfig, GraphQLSchema } from 'graphql';
import type { RequestContext } from '../src/context.ts';

/** Most contexts are ready when they are asked for; a promise where there is none would cost every field of a list its own. */
export type MaybePromise<T> = T | Promise<T>;

export type Field = GraphQLFieldConfig<unknown, RequestContext>;

/**
 * What a directive makes of the request's context for the resolver it stands on. It throws where the caller may not pass.
 * Directives on one field are applied in the order of `index.ts`, each to what the one before made.
 */
export type Access = (context: RequestContext) => MaybePromise<RequestContext>;

/** Reads a directive's arguments off a field: the directive's own way to see whether it stands there. */
export type AccessDirective = (schema: GraphQLSchema, field: Field, typeName: string) => Access | null;

export const isPromise = (value: unknown): value is Promise<unknown> =>
  typeof (value as { then?: unknown } | null)?.then === 'function';

/** Goes on with a value now if it is there, later if it is promised. */
export const chain = <A, B>(value: MaybePromise<A>, next: (value: A) => MaybePromise<B>): MaybePromise<B> =>
  isPromise(value) ? value.then(next) : next(value);
