import type { RetrievalFilter } from './filters.ts';
import { matchesFilter } from './filters.ts';
import type { Metadata, Passage } from './model.ts';

/** What one call asks of one knowledge base. */
export interface Lookup {
  readonly knowledgeBaseId: string;
  readonly question: string;
  readonly filter: RetrievalFilter | null;
  readonly resultsMax: number;
}

/** Bedrock's default number of results. */
export const RESULTS_DEFAULT = 5;

const FALLBACK_RESULTS = 2;
const STOP_WORDS = new Set(
  (
    'a about an and any are can could did do does for from have how i in is it me my of on or our please tell that the this ' +
    'to was we were what when where which who why will with work works would you your'
  ).split(' '),
);

/** The words of a text that can carry meaning: lower case, without stop words, plural and singular alike. */
export const keywords = (text: string): ReadonlySet<string> =>
  new Set(
    (text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [])
      .filter((word) => !STOP_WORDS.has(word))
      .map((word) => (word.length > 3 ? word.replace(/s$/, '') : word)),
  );

/** How many of the question's keywords occur in the text. */
export const overlap = (wanted: ReadonlySet<string>, text: string): number =>
  [...keywords(text)].filter((word) => wanted.has(word)).length;

/** A passage's metadata as filters and references see it. */
export const metadataOf = ({ attributes, tenantId, title, uri }: Passage): Metadata => ({
  ...attributes,
  tenantId,
  title,
  uri,
});

/**
 * The passages a lookup brings back, best first; the same lookup always gives the same ones.
 *
 * When passages of several tenants pass the filter — which only happens if the caller forgot it — every tenant is represented
 * in turn, so that a missing filter shows at once instead of hiding behind a lucky ranking.
 */
export const retrieve = (passages: readonly Passage[], lookup: Lookup): readonly Passage[] => {
  const { knowledgeBaseId, filter } = lookup;
  const allowed = passages.filter(
    (passage) =>
      passage.knowledgeBaseId === knowledgeBaseId && (filter === null || matchesFilter(filter, metadataOf(passage))),
  );
  const wanted = keywords(lookup.question);
  const perTenant = [...Map.groupBy(allowed, (passage) => passage.tenantId).values()].map((group) =>
    best(group, wanted),
  );
  return interleave(perTenant).slice(0, lookup.resultsMax);
};

const best = (passages: readonly Passage[], wanted: ReadonlySet<string>): readonly Passage[] => {
  const scored = passages
    .map((passage) => ({ passage, score: 2 * overlap(wanted, passage.title) + overlap(wanted, passage.text) }))
    .filter(({ score }) => score > 0)
    .sort((a, b) => b.score - a.score)
    .map(({ passage }) => passage);
  return scored.length > 0 ? scored : passages.slice(0, FALLBACK_RESULTS);
};

const interleave = (groups: readonly (readonly Passage[])[]): readonly Passage[] => {
  const rounds = Math.max(0, ...groups.map((group) => group.length));
  return Array.from({ length: rounds }, (_, round) => groups.flatMap((group) => group.slice(round, round + 1))).flat();
};
