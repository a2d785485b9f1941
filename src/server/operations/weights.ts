import { getDirective } from '@graphql-tools/utils';
import {
  getNamedType,
  getNullableType,
  GraphQLInt,
  isAbstractType,
  isCompositeType,
  isInputObjectType,
  isInterfaceType,
  isIntrospectionType,
  isListType,
  isObjectType,
  type GraphQLArgument,
  type GraphQLField,
  type GraphQLInputField,
  type GraphQLInterfaceType,
  type GraphQLNamedType,
  type GraphQLObjectType,
  type GraphQLOutputType,
  type GraphQLSchema,
} from 'graphql';

export type SchemaField = GraphQLField<unknown, unknown>;

/** `@listSize` as it stands on a field. */
export interface ListSize {
  readonly assumedSize?: number;
  readonly slicingArguments?: readonly string[];
  readonly sizedFields?: readonly string[];
  readonly requireOneSlicingArgument: boolean;
}

type Weighted = Parameters<typeof getDirective>[1];

/** What the cost directives of a schema say, each read once. */
export interface Weights {
  /** Points of the field itself, whatever it returns. */
  field(parent: GraphQLNamedType, field: SchemaField): number;
  /** Points of one value of the type. */
  type(type: GraphQLNamedType): number;
  /** Points of an argument or input field, each time it is given. */
  input(input: GraphQLArgument | GraphQLInputField): number;
  listSize(field: SchemaField): ListSize | null;
}

const weightOf = (schema: GraphQLSchema, node: Weighted): number | null => {
  const [directive] = (getDirective(schema, node, 'cost') ?? []) as { readonly weight: string }[];
  return directive ? Number(directive.weight) : null;
};

const isList = (type: GraphQLOutputType): boolean => isListType(getNullableType(type));

function memoised<K extends object, V>(read: (key: K) => V): (key: K) => V {
  const known = new WeakMap<K, V>();
  return (key) => {
    if (!known.has(key)) known.set(key, read(key));
    return known.get(key) as V;
  };
}

/** The weights of a schema, by the defaults of the specification (7.1): 1 for what is composite, 0 for scalars and enums. */
export function readWeights(schema: GraphQLSchema): Weights {
  const ownWeight = memoised(
    (field: SchemaField) => weightOf(schema, field) ?? (isCompositeType(getNamedType(field.type)) ? 1 : 0),
  );
  // Neither interfaces nor their fields have weights: of all that an object may turn out to be, the dearest counts (7.2).
  const type = memoised((named: GraphQLNamedType): number =>
    isAbstractType(named)
      ? Math.max(0, ...schema.getPossibleTypes(named).map(type))
      : (weightOf(schema, named) ?? (isObjectType(named) ? 1 : 0)),
  );
  return {
    field: (parent, field) =>
      isInterfaceType(parent)
        ? Math.max(
            0,
            ...schema.getPossibleTypes(parent).map((each) => ownWeight(each.getFields()[field.name] ?? field)),
          )
        : ownWeight(field),
    type,
    input: memoised(
      (input: GraphQLArgument | GraphQLInputField) =>
        weightOf(schema, input) ?? (isInputObjectType(getNamedType(input.type)) ? 1 : 0),
    ),
    listSize: memoised(
      (field: SchemaField) => (getDirective(schema, field, 'listSize')?.[0] as ListSize | undefined) ?? null,
    ),
  };
}

/** What is wrong with the `@listSize` of one field. */
function sizeFaults(name: string, field: SchemaField, size: ListSize): string[] {
  const faults: string[] = [];
  if (!isList(field.type) && !size.sizedFields) faults.push(`${name} has a @listSize, but is no list`);
  if (!(size.assumedSize ?? size.slicingArguments?.length)) faults.push(`${name} has a @listSize without any size`);
  const target = getNamedType(field.type);
  for (const sized of size.sizedFields ?? []) {
    const list = isObjectType(target) || isInterfaceType(target) ? target.getFields()[sized] : undefined;
    if (!list || !isList(list.type)) faults.push(`${name} sizes ${target.name}.${sized}, which is no list`);
  }
  for (const argument of size.slicingArguments ?? []) {
    const type = field.args.find((arg) => arg.name === argument)?.type;
    if (!type || getNullableType(type) !== GraphQLInt)
      faults.push(`${name} is sliced by ${argument}, which is no Int of its arguments`);
  }
  return faults;
}

type Fielded = GraphQLObjectType | GraphQLInterfaceType;

/**
 * Everything in which a schema's cost directives say too little or break their specification (9): above all a list of which nobody
 * can say how long it is. Empty for one the server may start with.
 */
export function weightFaults(schema: GraphQLSchema): string[] {
  const weights = readWeights(schema);
  const types = Object.values(schema.getTypeMap()).filter((type) => !isIntrospectionType(type));
  const fielded = types.filter((type): type is Fielded => isObjectType(type) || isInterfaceType(type));
  const fields = fielded.flatMap((parent) =>
    Object.values(parent.getFields() as Record<string, SchemaField>).map((field) => ({ parent, field })),
  );
  const returning = (type: Fielded) => fields.filter(({ field }) => getNamedType(field.type) === type);
  const sizedFrom = (type: Fielded, name: string) =>
    returning(type).length > 0 &&
    returning(type).every(({ field }) => weights.listSize(field)?.sizedFields?.includes(name) ?? false);

  const weightFault = (node: Weighted, name: string) => {
    const weight = weightOf(schema, node);
    return weight === null || Number.isFinite(weight) ? [] : [`${name} has a @cost that is no number`];
  };

  const fieldFaults = fields.flatMap(({ parent, field }) => {
    const name = `${parent.name}.${field.name}`;
    const size = weights.listSize(field);
    const faults = [field, ...field.args].flatMap((node) => weightFault(node, name));
    if (isInterfaceType(parent) && weightOf(schema, field) !== null) faults.push(`${name} has a @cost on an interface`);
    if (!size) {
      const sized = !isList(field.type) || sizedFrom(parent, field.name);
      return sized ? faults : [...faults, `${name} is a list without a @listSize`];
    }
    return [...faults, ...sizeFaults(name, field, size)];
  });

  const inputFaults = types
    .filter(isInputObjectType)
    .flatMap((type) =>
      Object.values(type.getFields()).flatMap((input) => weightFault(input, `${type.name}.${input.name}`)),
    );
  return [...types.flatMap((type) => weightFault(type, type.name)), ...fieldFaults, ...inputFaults];
}
