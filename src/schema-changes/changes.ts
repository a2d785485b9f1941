import { diff, type Change as Difference } from '@graphql-inspector/core';
import type { GraphQLSchema } from 'graphql';

export interface Change {
  /** What was done, as GraphQL Inspector calls it, e.g. `FIELD_ADDED`. */
  readonly type: string;
  /** To what: a schema coordinate, e.g. `Query.agents` or `Query.usageSummary(start:)`. */
  readonly coordinate: string;
  /** Whether clients can break: certainly, if they take what they do not know for impossible, or not at all. */
  readonly level: 'BREAKING' | 'DANGEROUS' | 'NON_BREAKING';
  readonly message: string;
}

export interface Release {
  /** The day in UTC. */
  readonly date: string;
  readonly changes: readonly Change[];
}

/** `Query.conversations.first` is an argument, and `Query.old.@deprecated` speaks of `Query.old`. */
function coordinateOf({ path = '' }: Difference): string {
  const [type = '', field, argument] = path.split('.').filter((part) => !part.startsWith('@'));
  if (field === undefined) return type;
  return argument === undefined ? `${type}.${field}` : `${type}.${field}(${argument}:)`;
}

/** Descriptions promise nothing, and directives speak to the server; but for `@deprecated`, where no type of change is its own. */
function concernsClients({ type, path = '' }: Difference): boolean {
  if (/^DIRECTIVE_USAGE_(ARGUMENT|INPUT_FIELD)_DEFINITION_/.test(String(type))) return path.endsWith('.@deprecated');
  return !/^DIRECTIVE_|_DESCRIPTION_/.test(String(type));
}

/** Everything that a client could notice, by coordinate. */
export async function changesBetween(before: GraphQLSchema, after: GraphQLSchema): Promise<Change[]> {
  return (await diff(before, after))
    .filter(concernsClients)
    .map((difference) => ({
      type: String(difference.type),
      coordinate: coordinateOf(difference),
      level: difference.criticality.level,
      message: difference.message,
    }))
    .sort((a, b) => a.coordinate.localeCompare(b.coordinate) || a.type.localeCompare(b.type));
}
