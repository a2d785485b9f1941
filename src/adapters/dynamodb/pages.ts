import { pageOf, type Page, type PageRequest } from '../../kernel/page.ts';
import type { Query } from './table.ts';

/** The rows of a page of a list that begins with the greatest sort key, and one more that says whether there is another page. */
export function pageQuery(
  list: Pick<Query, 'PK' | 'index'>,
  { direction, size }: PageRequest,
  cursor: string | null,
): Query & { readonly limit: number } {
  const forward = direction === 'forward'; // newest first, so forward is descending
  return {
    ...list,
    descending: forward,
    limit: size + 1,
    ...(cursor !== null && (forward ? { before: cursor } : { after: cursor })),
  };
}

/** A page from rows read one further than it holds, in the direction they were read. */
export function pageOfRows<R, T>(
  found: readonly R[],
  { direction, size, cursor }: PageRequest,
  edge: (row: R) => { cursor: string; node: T },
): Page<T> {
  const more = found.length > size;
  const page = found.slice(0, size).map(edge);
  return direction === 'forward'
    ? pageOf(page, { hasNextPage: more, hasPreviousPage: cursor !== null })
    : pageOf(page.reverse(), { hasNextPage: cursor !== null, hasPreviousPage: more });
}
