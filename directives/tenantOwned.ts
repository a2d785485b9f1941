import { getDirective } from '@graphql-tools/utils';
import { getNamedType, isAbstractType, isObjectType, type GraphQLNamedType, type GraphQLSchema } from 'graphql';
import type { TenantId } from '../src/tenancy/tenant-id.ts';
import { isPromise, type Field } from './access.ts';

/** Whether a value of this type may be an object of a `@tenantOwned` type. */
export function mayBeOwned(schema: GraphQLSchema, type: GraphQLNamedType): boolean {
  if (isObjectType(type)) return getDirective(schema, type, 'tenantOwned') !== undefined;
  return isAbstractType(type) && schema.getPossibleTypes(type).some((possible) => mayBeOwned(schema, possible));
}

export const yieldsOwned = (schema: GraphQLSchema, field: Field): boolean =>
  mayBeOwned(schema, getNamedType(field.type));

/**
 * `@tenantOwned`: the last line of defence. Whatever a store or a service returned, an object of another tenant, or one that
 * does not say whose it is, never leaves a resolver.
 *
 * @throws a plain error, so that the caller sees INTERNAL and the log sees why.
 */
export function checkOwner(value: unknown, tenantId: TenantId | null, fieldName: string): unknown {
  if (value === null || value === undefined) return value;
  if (isPromise(value)) return value.then((resolved) => checkOwner(resolved, tenantId, fieldName));
  if (Array.isArray(value)) return value.map((item) => checkOwner(item, tenantId, fieldName));
  const object = value as { readonly tenantId?: unknown; readonly id?: unknown };
  // A Tenant is not owned, it is the owner: a Node of that type carries its own id.
  const owner = 'tenantId' in object ? object.tenantId : object.id;
  if (tenantId === null || owner !== tenantId) {
    throw new Error(`${fieldName} was about to return an object of another tenant`);
  }
  return value;
}
