import {
  getArgumentValues,
  getDirectiveValues,
  getNamedType,
  getNullableType,
  GraphQLIncludeDirective,
  GraphQLSkipDirective,
  isInputObjectType,
  isInterfaceType,
  isListType,
  isObjectType,
  Kind,
  type DocumentNode,
  type FieldNode,
  type FragmentDefinitionNode,
  type GraphQLArgument,
  type GraphQLInputField,
  type GraphQLInputType,
  type GraphQLNamedType,
  type GraphQLSchema,
  type OperationDefinitionNode,
  type SelectionNode,
  type SelectionSetNode,
} from 'graphql';
import { readWeights, type ListSize, type SchemaField } from './weights.ts';

/** What an operation costs at most, by static query analysis. */
export interface Cost {
  /** Of running resolvers: the weights of the fields, with their arguments, as often as they are resolved. */
  readonly fieldCost: number;
  /** Of what is returned: the weights of the types, as often as a value of them may be in the answer. */
  readonly typeCost: number;
}

/** What reading the schema costs, whatever of it is asked for: it is in memory, and has one size. */
const INTROSPECTION_COST = 50;
/** A list that nobody sized. The start-up check lets a schema have none. */
const UNSIZED = 100;

const NOTHING: Cost = { fieldCost: 0, typeCost: 0 };

const sum = (costs: readonly Cost[]): Cost => ({
  fieldCost: costs.reduce((total, { fieldCost }) => total + fieldCost, 0),
  typeCost: costs.reduce((total, { typeCost }) => total + typeCost, 0),
});

/** The sizes a field gives to the lists in the object it returns, by their names. */
type Sizes = ReadonlyMap<string, number>;
const NO_SIZES: Sizes = new Map();

/** How long a list is at most, by what the arguments say; an error where they may not say so. */
function sizeOf({ slicingArguments = [], assumedSize, requireOneSlicingArgument }: ListSize, args: Values): number {
  const given = slicingArguments.map((name) => args[name]).filter((value) => typeof value === 'number');
  if (requireOneSlicingArgument && slicingArguments.length > 0 && given.length !== 1)
    throw new CostError(`Give exactly one of ${slicingArguments.join(', ')}.`);
  return Math.max(0, ...(given.length > 0 ? given : [assumedSize ?? UNSIZED]));
}

type Values = Readonly<Record<string, unknown>>;

/** The operation does not say how much it asks for. */
export class CostError extends Error {}

export type CostAnalysis = (document: DocumentNode, operation: OperationDefinitionNode, variables: Values) => Cost;

/**
 * The cost of operations of one schema, by the cost directive specification (https://ibm.github.io/graphql-specs/cost-spec.html, static
 * query analysis): an upper bound, known before anything runs. The document has to be valid and the variables coerced. A fragment is
 * measured once, so that the work grows with the length of the document and of the variables, whatever they unfold to.
 *
 * A list of input objects costs its weight for each of them, since each is an appearance of its type. What the variables leave out by
 * `@skip` or `@include` costs nothing.
 *
 * @throws CostError where exactly one slicing argument is required; GraphQLError for arguments that do not fit.
 */
export function createCostAnalysis(schema: GraphQLSchema): CostAnalysis {
  const weights = readWeights(schema);
  const directives = new Map(schema.getDirectives().map((directive) => [directive.name, directive]));

  function inputCost(input: GraphQLArgument | GraphQLInputField, value: unknown, type: GraphQLInputType): number {
    if (value === undefined || value === null) return 0;
    const nullable = getNullableType(type);
    if (isListType(nullable)) {
      let total = 0;
      for (const item of value as readonly unknown[]) total += inputCost(input, item, nullable.ofType);
      return total;
    }
    if (!isInputObjectType(nullable)) return weights.input(input);
    const fields = Object.values(nullable.getFields());
    return weights.input(input) + inputsCost(fields, value as Values);
  }

  const inputsCost = (inputs: readonly (GraphQLArgument | GraphQLInputField)[], values: Values): number =>
    inputs.reduce((total, input) => total + inputCost(input, values[input.name], input.type), 0);

  return (document, operation, variables) => {
    const fragments = new Map<string, FragmentDefinitionNode>();
    for (const node of document.definitions)
      if (node.kind === Kind.FRAGMENT_DEFINITION) fragments.set(node.name.value, node);
    const measured = new Map<string, Cost>();

    const isLeftOut = (node: SelectionNode): boolean =>
      getDirectiveValues(GraphQLSkipDirective, node, variables)?.['if'] === true ||
      getDirectiveValues(GraphQLIncludeDirective, node, variables)?.['if'] === false;

    function directivesCost(node: FieldNode): number {
      return (node.directives ?? []).reduce((total, { name }) => {
        const definition = directives.get(name.value);
        const values = definition && getDirectiveValues(definition, node, variables);
        return definition && values ? total + inputsCost(definition.args, values) : total;
      }, 0);
    }

    function fieldCost(node: FieldNode, parent: GraphQLNamedType, sizes: Sizes): Cost {
      const name = node.name.value;
      if (name === '__schema' || name === '__type') return { fieldCost: INTROSPECTION_COST, typeCost: 0 };
      const field = fieldOf(parent, name);
      if (!field) return NOTHING; // __typename
      const args = getArgumentValues(field, node, variables);
      const own = weights.field(parent, field) + directivesCost(node) + inputsCost(field.args, args);

      const listSize = weights.listSize(field);
      const size = listSize && sizeOf(listSize, args);
      const inner = new Map((listSize?.sizedFields ?? []).map((sized) => [sized, size ?? 0]));
      const isList = isListType(getNullableType(field.type));
      const count = isList ? (sizes.get(name) ?? (inner.size > 0 ? UNSIZED : (size ?? UNSIZED))) : 1;

      const type = getNamedType(field.type);
      const selected = node.selectionSet ? selectionCost(node.selectionSet, type, inner) : NOTHING;
      return {
        fieldCost: Math.max(0, own) + count * selected.fieldCost,
        typeCost: count * (weights.type(type) + selected.typeCost),
      };
    }

    function fragmentCost(name: string, sizes: Sizes): Cost {
      const fragment = fragments.get(name);
      const type = fragment && schema.getType(fragment.typeCondition.name.value);
      if (!type) return NOTHING;
      const key = JSON.stringify([name, ...sizes]);
      const known = measured.get(key);
      if (known) return known;
      const cost = selectionCost(fragment.selectionSet, type, sizes);
      measured.set(key, cost);
      return cost;
    }

    function selectionCost({ selections }: SelectionSetNode, parent: GraphQLNamedType, sizes: Sizes): Cost {
      return sum(
        selections.map((node) => {
          if (isLeftOut(node)) return NOTHING;
          if (node.kind === Kind.FIELD) return fieldCost(node, parent, sizes);
          if (node.kind === Kind.FRAGMENT_SPREAD) return fragmentCost(node.name.value, sizes);
          const narrowed = node.typeCondition && schema.getType(node.typeCondition.name.value);
          return selectionCost(node.selectionSet, narrowed ?? parent, sizes);
        }),
      );
    }

    const root = schema.getRootType(operation.operation);
    if (!root) return NOTHING;
    const { fieldCost: field, typeCost: type } = selectionCost(operation.selectionSet, root, NO_SIZES);
    return { fieldCost: field, typeCost: type + weights.type(root) };
  };
}

const fieldOf = (parent: GraphQLNamedType, name: string): SchemaField | undefined =>
  isObjectType(parent) || isInterfaceType(parent)
    ? (parent.getFields() as Record<string, SchemaField>)[name]
    : undefined;
