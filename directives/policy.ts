import { getDirective } from '@graphql-tools/utils';
import {
  getNamedType,
  isAbstractType,
  isIntrospectionType,
  isObjectType,
  type GraphQLField,
  type GraphQLNamedType,
  type GraphQLObjectType,
  type GraphQLSchema,
} from 'graphql';
import type { RequestContext } from '../src/context.ts';
import { auditFaults } from './audit-paths.ts';
import { mayBeOwned } from './tenantOwned.ts';

// graphql-js gives a type's fields without saying what contexts they take.
type SchemaField = GraphQLField<unknown, RequestContext>;

const TENANT_ROLES = ['TENANT_ADMIN', 'MEMBER', 'PARTNER'];
/** The one field that a member of a tenant may call without entering it: a suspended tenant can still ask who it is. */
const OUTSIDE_ANY_TENANT = 'Query.viewer';

/**
 * Everything in which a schema breaks the isolation policy; empty for one the server may start with. It reads the schema
 * as it was made, before the directives are applied to it.
 */
export function policyFaults(schema: GraphQLSchema): string[] {
  const roots = [schema.getQueryType(), schema.getMutationType(), schema.getSubscriptionType()].filter(
    (type) => type != null,
  );
  const has = (field: SchemaField, directive: string) => getDirective(schema, field, directive)?.[0];
  const scoped = (field: SchemaField) => has(field, 'tenantScoped') !== undefined;
  const fieldsOf = (type: GraphQLObjectType): SchemaField[] =>
    Object.values(type.getFields() as Record<string, SchemaField>);

  const rootFaults = roots.flatMap((root) =>
    fieldsOf(root).flatMap((field) => {
      const name = `${root.name}.${field.name}`;
      const role = has(field, 'hasRole') as { anyOf: string[] } | undefined;
      if (!scoped(field) && !role && !has(field, 'public'))
        return [`${name} has none of @tenantScoped, @hasRole, @public`];
      const admitsTenant = role?.anyOf.some((name) => TENANT_ROLES.includes(name)) ?? false;
      if (admitsTenant && !scoped(field) && name !== OUTSIDE_ANY_TENANT) {
        return [`${name} admits a role of a tenant, but is not @tenantScoped`];
      }
      return [];
    }),
  );

  /** The types that can be reached without passing a field with @tenantScoped. */
  const outside = new Set<GraphQLNamedType>();
  const leaks: string[] = [];
  const visit = (type: GraphQLNamedType) => {
    if (outside.has(type)) return;
    outside.add(type);
    if (isAbstractType(type)) schema.getPossibleTypes(type).forEach(visit);
    if (!isObjectType(type)) return;
    for (const field of fieldsOf(type).filter((field) => !scoped(field))) {
      const target = getNamedType(field.type);
      if (mayBeOwned(schema, target))
        leaks.push(`${type.name}.${field.name} reaches ${target.name} without @tenantScoped`);
      else visit(target);
    }
  };
  roots.forEach(visit);

  // A type found only inside a tenant may hold what needs a store. What merely reads its own row has no resolver of its own.
  const unscopedResolvers = Object.values(schema.getTypeMap())
    .filter((type) => isObjectType(type) && !isIntrospectionType(type) && !outside.has(type))
    .flatMap((type) =>
      fieldsOf(type as GraphQLObjectType)
        .filter((field) => field.resolve !== undefined && !scoped(field))
        .map((field) => `${type.name}.${field.name} has a resolver of its own, but is not @tenantScoped`),
    );

  const mutation = schema.getMutationType();
  const unrecorded = mutation
    ? fieldsOf(mutation).flatMap((field) => auditFaults(schema, `${mutation.name}.${field.name}`, field))
    : [];

  return [...rootFaults, ...unrecorded, ...leaks, ...unscopedResolvers];
}
