import { Kind, parse, print, visit, type ConstDirectiveNode, type DocumentNode } from 'graphql';
import type { ContextBinder } from '../../src/context.ts';
import { createSchema, readTypeDefs } from '../../src/server/schema.ts';

/** The directives that open a field to somebody. */
export const ACCESS_DIRECTIVES = ['tenantScoped', 'hasRole', 'public'];
const ROOT_TYPES = ['Query', 'Mutation', 'Subscription'];

const document: DocumentNode = parse(readTypeDefs().join('\n'));

export interface DirectedField {
  /** `Type.field` */
  readonly coordinate: string;
  readonly isRoot: boolean;
  readonly directives: readonly string[];
}

const isFieldOwner = (kind: Kind): boolean =>
  kind === Kind.OBJECT_TYPE_DEFINITION || kind === Kind.OBJECT_TYPE_EXTENSION;

/** Every field of an object type of the schema, with the names of its directives. */
export const fieldsOfSchema = (): DirectedField[] =>
  document.definitions.flatMap((definition) =>
    isFieldOwner(definition.kind) && 'fields' in definition && 'name' in definition && definition.name
      ? (definition.fields ?? []).map((field) => ({
          coordinate: `${definition.name?.value}.${field.name.value}`,
          isRoot: ROOT_TYPES.includes(definition.name?.value ?? ''),
          directives: 'directives' in field ? (field.directives ?? []).map(({ name }) => name.value) : [],
        }))
      : [],
  );

/** The schema's text with other directives on one field. */
export function withDirectives(
  coordinate: string,
  change: (directives: readonly ConstDirectiveNode[]) => readonly ConstDirectiveNode[],
): string {
  let owner = '';
  const changed = visit(document, {
    enter(node) {
      if (isFieldOwner(node.kind) && 'name' in node && node.name) owner = node.name.value;
      if (node.kind !== Kind.FIELD_DEFINITION || `${owner}.${node.name.value}` !== coordinate) return undefined;
      return { ...node, directives: change(node.directives ?? []) };
    },
  });
  return print(changed);
}

export const withoutDirectives = (coordinate: string, names: readonly string[]): string =>
  withDirectives(coordinate, (directives) => directives.filter(({ name }) => !names.includes(name.value)));

/** What the server does first when it starts: it throws where the schema breaks the isolation policy. */
export function startWith(...typeDefs: readonly string[]): void {
  createSchema({} as ContextBinder, typeDefs);
}

export const unchanged = (): string => print(document);
