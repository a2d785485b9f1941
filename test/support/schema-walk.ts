import {
  buildSchema,
  getNamedType,
  isAbstractType,
  isEnumType,
  isInputObjectType,
  isListType,
  isNonNullType,
  isObjectType,
  isRequiredArgument,
  isRequiredInputField,
  type GraphQLArgument,
  type GraphQLField,
  type GraphQLInputType,
  type GraphQLNamedType,
  type GraphQLObjectType,
} from 'graphql';
import { readTypeDefs } from '../../src/server/schema.ts';

/** What is put into the places of an operation that name something: ids, cursors, and refresh tokens. */
export interface Baits {
  readonly id: readonly string[];
  readonly cursor: readonly string[];
  readonly token: readonly string[];
}

/** What is put into all other places, by type and name, e.g. `String title`. */
export type Plain = Readonly<Record<string, unknown>>;

export interface WalkOperation {
  /** `Query.node` */
  readonly root: string;
  /** Where the bait is, e.g. `Conversation.messages(after:)`; null for an operation that names nothing. */
  readonly target: string | null;
  readonly query: string;
  readonly variables: Readonly<Record<string, unknown>>;
  /** Every field it selects, as `Type.field`. */
  readonly selects: ReadonlySet<string>;
}

/** The alias of whatever is asked for with a bait. */
export const BAITED = 'baited';
/** The alias of a root field that is asked for without one. */
const HONEST = 'honest';

export const schema = buildSchema(readTypeDefs().join('\n'));
const ROOTS = [schema.getQueryType(), schema.getMutationType(), schema.getSubscriptionType()].filter((t) => t != null);

type Field = GraphQLField<unknown, unknown>;
const fieldsOf = (type: GraphQLObjectType): Field[] => Object.values(type.getFields());

export const rootFields: readonly { readonly type: GraphQLObjectType; readonly field: Field; readonly name: string }[] =
  ROOTS.flatMap((type) => fieldsOf(type).map((field) => ({ type, field, name: `${type.name}.${field.name}` })));

/** Every field of every object type, as `Type.field`. */
export const everyField: readonly string[] = Object.values(schema.getTypeMap())
  .filter((type) => isObjectType(type) && !type.name.startsWith('__'))
  .flatMap((type) => fieldsOf(type as GraphQLObjectType).map((field) => `${type.name}.${field.name}`));

// ---- the places an operation has to fill ----------------------------------------------------------------------------------

type Kind = keyof Baits | 'plain';

interface Slot {
  readonly kind: Kind;
  /** `input.conversationId` */
  readonly path: string;
  /** `String title` */
  readonly plainName: string;
  readonly required: boolean;
}

function kindOf(type: GraphQLNamedType, name: string): Kind {
  if (type.name === 'ID') return 'id';
  if (type.name !== 'String') return 'plain';
  if (name === 'after' || name === 'before') return 'cursor';
  return name === 'refreshToken' ? 'token' : 'plain';
}

function slotsOfInput(type: GraphQLInputType, path: string, required: boolean, within: readonly string[] = []): Slot[] {
  const named = getNamedType(type);
  const name = path.split('.').at(-1) ?? '';
  if (!isInputObjectType(named)) {
    return [{ kind: kindOf(named, name), path, plainName: `${named.name} ${name}`, required }];
  }
  if (within.includes(named.name)) return []; // an input type inside itself: once is enough
  return Object.values(named.getFields()).flatMap((field) =>
    slotsOfInput(field.type, `${path}.${field.name}`, required && isRequiredInputField(field), [...within, named.name]),
  );
}

const slotsOf = (field: Field): Slot[] =>
  field.args.flatMap((arg) => slotsOfInput(arg.type, arg.name, isRequiredArgument(arg)));

/** Fills the places it is told to, and those that must be filled. */
class Filling {
  readonly chosen: ReadonlyMap<string, unknown>;
  readonly plain: Plain;
  readonly requiredId: string;

  constructor(chosen: ReadonlyMap<string, unknown>, plain: Plain, requiredId: string) {
    this.chosen = chosen;
    this.plain = plain;
    this.requiredId = requiredId;
  }

  wants(path: string): boolean {
    return [...this.chosen.keys()].some((chosen) => chosen === path || chosen.startsWith(`${path}.`));
  }

  value(type: GraphQLInputType, path: string): unknown {
    if (isNonNullType(type)) return this.value(type.ofType, path);
    if (isListType(type)) return [this.value(type.ofType, path)];
    if (isInputObjectType(type)) {
      const fields = Object.values(type.getFields()).filter(
        (field) => isRequiredInputField(field) || this.wants(`${path}.${field.name}`),
      );
      return Object.fromEntries(fields.map((field) => [field.name, this.value(field.type, `${path}.${field.name}`)]));
    }
    if (this.chosen.has(path)) return this.chosen.get(path);
    const [slot] = slotsOfInput(type, path, true);
    return slot?.kind === 'id' ? this.requiredId : plainValue(this.plain, type, slot?.plainName ?? path);
  }

  args(field: Field): { readonly arg: GraphQLArgument; readonly value: unknown }[] {
    return field.args
      .filter((arg) => isRequiredArgument(arg) || this.wants(arg.name))
      .map((arg) => ({ arg, value: this.value(arg.type, arg.name) }));
  }
}

/** @throws for a place the walk was never told how to fill: a new argument has to be thought of. */
function plainValue(plain: Plain, type: GraphQLInputType, name: string): unknown {
  const named = getNamedType(type);
  if (name in plain) return plain[name];
  if (isEnumType(named)) return named.getValues()[0]?.name;
  throw new Error(`The walk does not know what to put into an argument \`${name}\`. Add it to the plain values.`);
}

/** Every place of the schema that the plain values do not cover; each would otherwise be met only once it is required. */
export const placesWithoutValue = (plain: Plain): string[] =>
  everyField.flatMap((coordinate) => {
    const field = fieldOf(coordinate);
    return slotsOf(field)
      .filter(({ kind, plainName }) => kind === 'plain' && !(plainName in plain))
      .filter(({ plainName }) => !isEnumType(schema.getType(plainName.split(' ')[0] ?? '')))
      .map(({ path, plainName }) => `${coordinate}(${path}: ${plainName})`);
  });

function fieldOf(coordinate: string): Field {
  const [type = '', name = ''] = coordinate.split('.');
  const field = (schema.getType(type) as GraphQLObjectType).getFields()[name];
  if (!field) throw new Error(`There is no ${coordinate}`);
  return field;
}

// ---- operations -----------------------------------------------------------------------------------------------------------

/** One operation while it is written. */
class Draft {
  readonly selects = new Set<string>();
  readonly variables: Record<string, unknown> = {};
  readonly declarations: string[] = [];
  readonly nested: { readonly coordinate: string; readonly filling: Filling } | null;
  readonly honest: Filling;

  constructor(nested: Draft['nested'], honest: Filling) {
    this.nested = nested;
    this.honest = honest;
  }

  call(coordinate: string, field: Field, filling: Filling): string {
    this.selects.add(coordinate);
    const given = filling.args(field).map(({ arg, value }) => {
      const variable = `${coordinate.replace('.', '_')}_${arg.name}`;
      if (!(variable in this.variables)) this.declarations.push(`$${variable}: ${String(arg.type)}`);
      this.variables[variable] = value;
      return `${arg.name}: $${variable}`;
    });
    return given.length > 0 ? `${field.name}(${given.join(', ')})` : field.name;
  }

  /** Every field of a type, and of theirs, until a type would come again on the same way. */
  selection(type: GraphQLNamedType, trail: readonly string[] = []): string {
    if (isAbstractType(type)) {
      const possible = schema.getPossibleTypes(type).map((one) => {
        const fields = this.fields(one, [...trail, type.name], `${one.name}_`);
        return `... on ${one.name} { ${fields} }`;
      });
      return `{ __typename ${possible.join(' ')} }`;
    }
    return isObjectType(type) ? `{ __typename ${this.fields(type, trail, '')} }` : '';
  }

  private fields(type: GraphQLObjectType, trail: readonly string[], prefix: string): string {
    return fieldsOf(type)
      .filter((field) => ![...trail, type.name].includes(getNamedType(field.type).name))
      .map((field) => {
        const coordinate = `${type.name}.${field.name}`;
        const below = () => this.selection(getNamedType(field.type), [...trail, type.name]);
        if (this.nested?.coordinate === coordinate) {
          return `${BAITED}: ${this.call(coordinate, field, this.nested.filling)} ${below()}`;
        }
        const alias = prefix ? `${prefix}${field.name}: ` : '';
        return `${alias}${this.call(coordinate, field, this.honest)} ${below()}`;
      })
      .join(' ');
  }
}

type Root = (typeof rootFields)[number];

interface Request {
  readonly filling: Filling;
  readonly target: string | null;
  readonly nested: Draft['nested'];
}

function operation({ type, field, name }: Root, { filling, target, nested }: Request): WalkOperation {
  const draft = new Draft(nested, new Filling(new Map(), filling.plain, filling.requiredId));
  const alias = target !== null && !nested ? BAITED : HONEST;
  const call = draft.call(name, field, filling);
  const selection = draft.selection(getNamedType(field.type), [type.name]);
  const declarations = draft.declarations.length > 0 ? `(${draft.declarations.join(', ')})` : '';
  const query = `${type.name.toLowerCase()} Walk${declarations} { ${alias}: ${call} ${selection} }`;
  return { root: name, target, query, variables: draft.variables, selects: draft.selects };
}

const one = (path: string, value: unknown) => new Map([[path, value]]);

/** The root field with each bait in each of its places, and once more with each other argument besides. */
function baitedOperations(root: Root, baits: Baits, plain: Plain): WalkOperation[] {
  const slots = slotsOf(root.field);
  const extras = slots.filter(({ kind, required }) => kind === 'plain' && !required);
  return slots.flatMap(({ kind, path }) => {
    if (kind === 'plain') return [];
    const target = `${root.name}(${path}:)`;
    return baits[kind].flatMap((bait) =>
      [null, ...extras].map((extra) => {
        const chosen = one(path, bait);
        if (extra) chosen.set(extra.path, plain[extra.plainName]);
        return operation(root, { filling: new Filling(chosen, plain, bait), target, nested: null });
      }),
    );
  });
}

/** A query that finds what is the caller's own, with each bait in each place further inside. */
function nestedOperations(root: Root, ownIds: readonly string[], baits: Baits, plain: Plain): WalkOperation[] {
  if (root.type !== schema.getQueryType()) return [];
  const needsId = slotsOf(root.field).some(({ kind, required }) => kind === 'id' && required);
  return (needsId ? ownIds : [ownIds[0] ?? '']).flatMap((ownId) => {
    const filling = new Filling(new Map(), plain, ownId);
    const [...inside] = operation(root, { filling, target: null, nested: null }).selects;
    return inside
      .filter((coordinate) => coordinate !== root.name)
      .flatMap((coordinate) =>
        slotsOf(fieldOf(coordinate)).flatMap(({ kind, path }) => {
          if (kind === 'plain') return [];
          const target = `${coordinate}(${path}:)`;
          return baits[kind].map((bait) => {
            const nested = { coordinate, filling: new Filling(one(path, bait), plain, bait) };
            return operation(root, { filling, target, nested });
          });
        }),
      );
  });
}

/** Operations that name nothing of anybody's: they show what the caller may see, or change nothing that has a name. */
function plainOperations(root: Root, plain: Plain): WalkOperation[] {
  const slots = slotsOf(root.field);
  const namesNothing = !slots.some(({ kind, required }) => kind !== 'plain' && required);
  if (!namesNothing || (root.type !== schema.getQueryType() && slots.some(({ kind }) => kind !== 'plain'))) return [];
  const target = root.type === schema.getMutationType() ? `${root.name}()` : null;
  return [operation(root, { filling: new Filling(new Map(), plain, ''), target, nested: null })];
}

/** What a root field shows of the caller's own, without naming anything. */
export const viewOperations = (plain: Plain): WalkOperation[] =>
  rootFields.filter(({ type }) => type === schema.getQueryType()).flatMap((root) => plainOperations(root, plain));

/** Everything to be tried on one root field. */
export function attacksOn(name: string, ownIds: readonly string[], baits: Baits, plain: Plain): WalkOperation[] {
  const root = rootFields.find((candidate) => candidate.name === name);
  if (!root) throw new Error(`There is no ${name}`);
  return [
    ...plainOperations(root, plain),
    ...baitedOperations(root, baits, plain),
    ...nestedOperations(root, ownIds, baits, plain),
  ];
}

// ---- answers --------------------------------------------------------------------------------------------------------------

/** A point of a series in which nothing was used: that it is there tells only of the time. */
function isUnusedPoint(value: unknown): boolean {
  if (typeof value !== 'object' || value === null || !('__typename' in value) || value.__typename !== 'UsagePoint')
    return false;
  const { turns, invocations, costUsd, tokens } = value as Record<string, unknown>;
  const counts = [
    turns,
    invocations,
    costUsd,
    ...Object.values(tokens ?? {}).filter((count) => count !== 'TokenTotals'),
  ];
  return counts.every((count) => count === null || count === 0);
}

/** Whether a value tells nothing: null, empty lists, and objects of nothing else. Flags of an empty page may stand in it. */
export function isBarren(value: unknown): boolean {
  if (value === null || value === undefined || typeof value === 'boolean') return true;
  if (Array.isArray(value)) return value.every(isUnusedPoint);
  if (typeof value !== 'object') return false;
  return Object.entries(value).every(([name, child]) => name === '__typename' || isBarren(child));
}

/** Everything an answer holds under the alias of a bait, wherever it stands. */
export function baitedValues(value: unknown): unknown[] {
  if (Array.isArray(value)) return value.flatMap(baitedValues);
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([name, child]) => (name === BAITED ? [child] : baitedValues(child)));
}

/** Every text in a value. */
export function textsOf(value: unknown): string[] {
  if (typeof value === 'string') return [value];
  if (typeof value !== 'object' || value === null) return [];
  return Object.values(value).flatMap(textsOf);
}
