import { badInput } from './errors.ts';

export const PAGE_SIZE_DEFAULT = 20;
export const PAGE_SIZE_MAX = 100;

/** The paging arguments of a GraphQL connection, as the client sent them. */
export interface PageArguments {
  readonly first?: number | null | undefined;
  readonly after?: string | null | undefined;
  readonly last?: number | null | undefined;
  readonly before?: string | null | undefined;
}

/** A checked request for one page. Forward: from the list's start, or after `cursor`. Backward: from its end, or before `cursor`. */
export interface PageRequest {
  readonly direction: 'forward' | 'backward';
  readonly size: number;
  readonly cursor: string | null;
}

export interface Edge<T> {
  readonly cursor: string;
  readonly node: T;
}

export interface PageInfo {
  readonly hasNextPage: boolean;
  readonly hasPreviousPage: boolean;
  readonly startCursor: string | null;
  readonly endCursor: string | null;
}

/** A page in the form a GraphQL connection shows it. */
export interface Page<T> {
  readonly edges: readonly Edge<T>[];
  readonly nodes: readonly T[];
  readonly pageInfo: PageInfo;
}

/**
 * Checks paging arguments: `first`/`after` or `last`/`before`, 1 to 100 rows, 20 when neither is given.
 * @throws BAD_USER_INPUT for both directions at once, a cursor of the other direction, or a size out of range.
 */
export function pageRequest({ first, after, last, before }: PageArguments): PageRequest {
  if (first != null && last != null) throw badInput('Give either `first` or `last`, not both.', 'last');
  const backward = last != null || (first == null && before != null);
  if (backward && after != null) throw badInput('`after` goes with `first`; with `last` use `before`.', 'after');
  if (!backward && before != null) throw badInput('`before` goes with `last`; with `first` use `after`.', 'before');
  const size = first ?? last ?? PAGE_SIZE_DEFAULT;
  if (size < 1 || size > PAGE_SIZE_MAX) {
    throw badInput(`A page holds 1 to ${PAGE_SIZE_MAX} rows.`, backward ? 'last' : 'first');
  }
  return { direction: backward ? 'backward' : 'forward', size, cursor: (backward ? before : after) ?? null };
}

/** Builds a page from its rows in list order. */
export function pageOf<T>(
  edges: readonly Edge<T>[],
  more: { readonly hasNextPage: boolean; readonly hasPreviousPage: boolean },
): Page<T> {
  return {
    edges,
    nodes: edges.map((edge) => edge.node),
    pageInfo: { ...more, startCursor: edges[0]?.cursor ?? null, endCursor: edges.at(-1)?.cursor ?? null },
  };
}
