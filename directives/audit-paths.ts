import {
  getNamedType,
  isEnumType,
  isInputObjectType,
  isObjectType,
  type GraphQLField,
  type GraphQLNamedType,
  type GraphQLSchema,
} from 'graphql';
import { getDirective } from '@graphql-tools/utils';
import type { RequestContext } from '../src/context.ts';

/** `@audited`, as it stands on a mutation. */
export interface Audited {
  readonly action: string;
  readonly resource: string;
  readonly details?: readonly string[];
  readonly tenant?: string;
}

/** What a call was given, and what came of it. */
export interface Call {
  readonly args: Readonly<Record<string, unknown>>;
  readonly result: unknown;
}

type SchemaField = GraphQLField<unknown, RequestContext>;

const ACTION = /^[a-z][A-Za-z]*(\.[a-z][A-Za-z]*)+$/;
const RESOURCE = /^[a-z][A-Za-z]*(\/\{([\w.]+)\})?$/;
/** Types whose values say nothing that somebody wrote. */
const PLAIN = ['ID', 'Boolean', 'Int', 'Float', 'DateTime'];

export const auditedOf = (schema: GraphQLSchema, field: Parameters<typeof getDirective>[1]): Audited | null =>
  (getDirective(schema, field, 'audited')?.[0] as Audited | undefined) ?? null;

/** The value at a path like `input.conversationId`, or `result.conversation.id`; undefined where there is none. */
export function valueAt({ args, result }: Call, path: string): unknown {
  return path
    .split('.')
    .reduce<unknown>((value, name) => (value as Record<string, unknown> | null | undefined)?.[name], {
      ...args,
      result,
    });
}

/** What is wrong with a mutation's `@audited`; without one, that it is missing. */
export function auditFaults(schema: GraphQLSchema, name: string, field: SchemaField): string[] {
  const audited = auditedOf(schema, field);
  if (!audited) return [`${name} is a mutation without @audited`];
  const { action, resource, details = [], tenant } = audited;
  const faults: string[] = [];
  if (!ACTION.test(action)) faults.push(`${name}: the action \`${action}\` is not written like conversation.delete`);
  const [place, , id] = RESOURCE.exec(resource) ?? [];
  if (place === undefined)
    faults.push(`${name}: the resource \`${resource}\` is not written like conversation/{input.id}`);
  for (const path of [...(id ? [id] : []), ...details]) {
    const type = typeAt(field, path);
    if (!type) faults.push(`${name}: there is nothing at \`${path}\``);
    else if (!PLAIN.includes(type.name) && !isEnumType(type))
      faults.push(`${name}: \`${path}\` is a ${type.name}, which may hold what somebody wrote or keeps secret`);
  }
  if (tenant !== undefined && !typeAt(field, tenant)) faults.push(`${name}: there is nothing at \`${tenant}\``);
  return faults;
}

/** The type of what stands at a path, of the arguments or of the result. */
function typeAt(field: SchemaField, path: string): GraphQLNamedType | null {
  const [first = '', ...rest] = path.split('.');
  const from = first === 'result' ? field.type : field.args.find(({ name }) => name === first)?.type;
  return rest.reduce<GraphQLNamedType | null>(
    (type, name) => {
      const inner = isObjectType(type) || isInputObjectType(type) ? type.getFields()[name]?.type : null;
      return inner ? getNamedType(inner) : null;
    },
    from ? getNamedType(from) : null,
  );
}
