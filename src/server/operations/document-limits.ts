import {
  GraphQLError,
  Kind,
  visit,
  type DocumentNode,
  type FragmentDefinitionNode,
  type SelectionSetNode,
} from 'graphql';

/** Lexical tokens of one document: far more than people write, far fewer than it takes to keep a parser busy. */
export const DOCUMENT_TOKENS_MAX = 2_000;
/** Selections of an operation once its fragments are written out. An introspection query has some 300. */
export const SELECTIONS_MAX = 5_000;
/** How deep selections may be nested, fragments written out. An introspection query goes 15 deep. */
export const DEPTH_MAX = 25;
/** Fields of an operation that have another name in the answer, fragments written out. */
export const ALIASES_MAX = 100;
/** Directives of one document. */
export const DIRECTIVES_MAX = 50;
/** Characters of a name: that of an operation stands in all its errors, and that of a field in the path of all below it. */
export const NAME_CHARACTERS_MAX = 250;

interface Extent {
  readonly selections: number;
  readonly depth: number;
  readonly aliases: number;
}

const NOTHING: Extent = { selections: 0, depth: 0, aliases: 0 };

/** Sums of what doubles with every fragment: beyond all limits they need not be exact. */
const add = (a: number, b: number): number => Math.min(a + b, Number.MAX_SAFE_INTEGER);

/**
 * What is too much in a document, whatever it asks for. Found before it is validated, since validation takes longest on just such
 * documents. Each fragment is measured once, so the work grows with the document's length, whatever it would unfold to.
 */
export function documentFaults(document: DocumentNode): readonly GraphQLError[] {
  const fragments = new Map<string, FragmentDefinitionNode>();
  for (const node of document.definitions)
    if (node.kind === Kind.FRAGMENT_DEFINITION) fragments.set(node.name.value, node);
  const measured = new Map<string, Extent>();

  function ofFragment(name: string): Extent {
    const known = measured.get(name);
    const fragment = fragments.get(name);
    if (known || !fragment) return known ?? NOTHING;
    measured.set(name, NOTHING); // a circle is for validation to refuse: here it must only end
    const extent = ofSelections(fragment.selectionSet);
    measured.set(name, extent);
    return extent;
  }

  function ofSelections({ selections }: SelectionSetNode): Extent {
    let total = NOTHING;
    for (const node of selections) {
      const isField = node.kind === Kind.FIELD;
      const inner =
        node.kind === Kind.FRAGMENT_SPREAD
          ? ofFragment(node.name.value)
          : node.selectionSet
            ? ofSelections(node.selectionSet)
            : NOTHING;
      total = {
        selections: add(total.selections, inner.selections + 1),
        depth: Math.max(total.depth, inner.depth + (isField ? 1 : 0)),
        aliases: add(total.aliases, inner.aliases + (isField && node.alias ? 1 : 0)),
      };
    }
    return total;
  }

  const faults: GraphQLError[] = [];
  const refuse = (message: string) => faults.push(new GraphQLError(message));
  for (const node of document.definitions) {
    if (node.kind !== Kind.OPERATION_DEFINITION) continue;
    const { selections, depth, aliases } = ofSelections(node.selectionSet);
    if (selections > SELECTIONS_MAX) refuse(`The operation selects more than ${SELECTIONS_MAX} fields.`);
    if (depth > DEPTH_MAX) refuse(`The operation is nested more than ${DEPTH_MAX} fields deep.`);
    if (aliases > ALIASES_MAX) refuse(`The operation gives more than ${ALIASES_MAX} fields another name.`);
  }
  const { directives, longestName } = wordsOf(document);
  if (directives > DIRECTIVES_MAX) refuse(`The document has more than ${DIRECTIVES_MAX} directives.`);
  if (longestName > NAME_CHARACTERS_MAX)
    refuse(`A name in the document has more than ${NAME_CHARACTERS_MAX} characters.`);
  return faults;
}

function wordsOf(document: DocumentNode) {
  let directives = 0;
  let longestName = 0;
  visit(document, {
    Directive: () => void directives++,
    Name: ({ value }) => void (longestName = Math.max(longestName, value.length)),
  });
  return { directives, longestName };
}
