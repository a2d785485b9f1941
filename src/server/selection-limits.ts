import {
  GraphQLError,
  Kind,
  type ASTVisitor,
  type FragmentDefinitionNode,
  type OperationDefinitionNode,
  type SelectionSetNode,
  type ValidationContext,
} from 'graphql';

/** Selections of an operation once its fragments are written out. An introspection query has some 300. */
export const SELECTIONS_MAX = 5_000;
/** How deep selections may be nested, fragments written out. An introspection query goes 15 deep. */
export const DEPTH_MAX = 25;

interface Extent {
  readonly selections: number;
  readonly depth: number;
}

/**
 * A validation rule that refuses an operation whose fragments multiply into more than anybody would read. Each fragment is
 * measured once, so the work grows with the document's length, whatever it would unfold to.
 */
export function selectionLimits(context: ValidationContext): ASTVisitor {
  const measured = new Map<FragmentDefinitionNode, Extent>();
  const NOTHING: Extent = { selections: 0, depth: 0 };

  function ofFragment(name: string): Extent {
    const fragment = context.getFragment(name);
    if (!fragment) return NOTHING;
    const known = measured.get(fragment);
    if (known) return known;
    measured.set(fragment, NOTHING); // a circle is another rule's business: here it must only end
    const extent = ofSelections(fragment.selectionSet);
    measured.set(fragment, extent);
    return extent;
  }

  function ofSelections({ selections }: SelectionSetNode): Extent {
    let sum = 0;
    let depth = 0;
    for (const selection of selections) {
      const isField = selection.kind === Kind.FIELD;
      const inner =
        selection.kind === Kind.FRAGMENT_SPREAD
          ? ofFragment(selection.name.value)
          : selection.selectionSet
            ? ofSelections(selection.selectionSet)
            : NOTHING;
      sum += inner.selections + 1;
      depth = Math.max(depth, inner.depth + (isField ? 1 : 0));
    }
    return { selections: Math.min(sum, Number.MAX_SAFE_INTEGER), depth };
  }

  return {
    OperationDefinition(operation: OperationDefinitionNode) {
      const { selections, depth } = ofSelections(operation.selectionSet);
      const refuse = (message: string) => context.reportError(new GraphQLError(message, { nodes: operation }));
      if (selections > SELECTIONS_MAX) refuse(`The operation selects more than ${SELECTIONS_MAX} fields.`);
      if (depth > DEPTH_MAX) refuse(`The operation is nested more than ${DEPTH_MAX} fields deep.`);
    },
  };
}
