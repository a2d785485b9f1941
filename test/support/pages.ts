/** A connection as the walks below select it. */
export interface Connection {
  readonly edges: readonly { readonly cursor: string; readonly node: { readonly id: string } }[];
  readonly nodes: readonly { readonly id: string }[];
  readonly pageInfo: {
    readonly hasNextPage: boolean;
    readonly hasPreviousPage: boolean;
    readonly startCursor: string | null;
    readonly endCursor: string | null;
  };
}

export const PAGE = `edges { cursor node { id } } nodes { id } pageInfo { hasNextPage hasPreviousPage startCursor endCursor }`;

export interface PageVariables {
  readonly first?: number | null;
  readonly after?: string | null;
  readonly last?: number | null;
  readonly before?: string | null;
}

type Fetch = (page: PageVariables) => Promise<Connection>;

export const idsOf = ({ nodes }: Connection): string[] => nodes.map(({ id }) => id);

/** Every page from the list's start to its end. It ends by `hasNextPage` alone: a wrong one is a walk that is too short or too long. */
export async function walkForwards(fetch: Fetch, first: number): Promise<Connection[]> {
  const pages = [await fetch({ first })];
  while (pages.at(-1)?.pageInfo.hasNextPage && pages.length < 1_000) {
    pages.push(await fetch({ first, after: pages.at(-1)?.pageInfo.endCursor ?? null }));
  }
  return pages;
}

/** Every page from the list's end to its start, in the order in which they were read. */
export async function walkBackwards(fetch: Fetch, last: number): Promise<Connection[]> {
  const pages = [await fetch({ last })];
  while (pages.at(-1)?.pageInfo.hasPreviousPage && pages.length < 1_000) {
    pages.push(await fetch({ last, before: pages.at(-1)?.pageInfo.startCursor ?? null }));
  }
  return pages;
}

/** What a page of these rows must say of itself, given the ids of the whole list. */
export function expectedPageInfo(page: Connection, all: readonly string[]) {
  const ids = idsOf(page);
  return {
    hasNextPage: all.indexOf(ids.at(-1) ?? '') < all.length - 1,
    hasPreviousPage: all.indexOf(ids[0] ?? '') > 0,
    startCursor: page.edges[0]?.cursor ?? null,
    endCursor: page.edges.at(-1)?.cursor ?? null,
  };
}

const PART = 'A';

/** The same cursor in forms that no server made: each character changed, cut off, prolonged, its parts exchanged. */
export function alteredCursors(cursor: string): string[] {
  const [position = '', mac = ''] = cursor.split('.');
  const changed = Array.from(cursor, (character, at) => {
    if (character === '.') return `${cursor.slice(0, at)}${cursor.slice(at + 1)}`;
    return cursor.slice(0, at) + (character === PART ? 'B' : PART) + cursor.slice(at + 1);
  });
  const others = ['', '.', 'null', `${position}.`, `.${mac}`, `${mac}.${position}`, position, `${cursor}${PART}`];
  const longer = [`${cursor}=`, `${cursor}.`, `${cursor}.x`, ` ${cursor}`, `${cursor}\n`, `${position}!.${mac}`];
  return [...changed, ...others, ...longer, 'x'.repeat(10_000), '\ud800'];
}

/** Paging arguments that no list takes. */
export const badPages = (cursor: string): PageVariables[] => [
  { first: 0 },
  { first: 101 },
  { first: -1 },
  { last: 0 },
  { last: 101 },
  { last: -1 },
  { first: 5, last: 5 },
  { first: 5, before: cursor },
  { last: 5, after: cursor },
  { after: cursor, before: cursor },
  { first: 1_000 },
  { last: -2_147_483_648 },
];
