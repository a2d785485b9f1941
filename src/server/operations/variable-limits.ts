import { GraphQLError } from 'graphql';

/** Items of one list in the variables. No operation takes more, and each would have to be looked at before it could say so. */
export const LIST_ITEMS_MAX = 1_000;

/** What is too much in the variables of a request; null if nothing is. Not recursive: they may be nested as deep as a body is long. */
export function variableFault(variables: Readonly<Record<string, unknown>>): GraphQLError | null {
  const unseen: unknown[] = [variables];
  while (unseen.length > 0) {
    const value = unseen.pop();
    if (Array.isArray(value) && value.length > LIST_ITEMS_MAX)
      return new GraphQLError(`A list in the variables has more than ${LIST_ITEMS_MAX} items.`);
    if (typeof value === 'object' && value !== null) for (const inner of Object.values(value)) unseen.push(inner);
  }
  return null;
}
