import { asArray, asObject, asString } from './json-fields.ts';
import type { Metadata, MetadataValue } from './model.ts';
import { invalid } from './service-error.ts';

type Scalar = string | number | boolean;

interface Leaf<Value> {
  readonly key: string;
  readonly value: Value;
}

/** A knowledge-base filter: each node has exactly one key. */
export type RetrievalFilter =
  | { readonly [operator in 'equals' | 'notEquals' | 'listContains']?: Leaf<Scalar> }
  | { readonly [operator in 'in' | 'notIn']?: Leaf<readonly Scalar[]> }
  | { readonly [operator in NumberOperator]?: Leaf<number> }
  | { readonly [operator in 'startsWith' | 'stringContains']?: Leaf<string> }
  | { readonly [operator in 'andAll' | 'orAll']?: readonly RetrievalFilter[] };

type NumberOperator = 'greaterThan' | 'greaterThanOrEquals' | 'lessThan' | 'lessThanOrEquals';

type Attribute = MetadataValue | undefined;

interface LeafRule {
  readonly takes: string;
  accepts(value: unknown): boolean;
  /** `attribute` is undefined when the document lacks the key. */
  matches(attribute: Attribute, value: unknown): boolean;
}

/** Far above any real filter; without it a deeply nested body could exhaust the stack. */
const DEPTH_MAX = 20;
const KEY_LENGTH_MAX = 100;

const isScalar = (value: unknown): value is Scalar => ['string', 'number', 'boolean'].includes(typeof value);
const isScalars = (value: unknown): boolean => Array.isArray(value) && value.every(isScalar);
const holds = (value: unknown, attribute: Attribute): boolean => Array.isArray(value) && value.includes(attribute);

const numberRule = (compare: (attribute: number, value: number) => boolean): LeafRule => ({
  takes: 'a number',
  accepts: (value) => typeof value === 'number',
  matches: (attribute, value) => typeof attribute === 'number' && compare(attribute, value as number),
});

const stringRule = (compare: (attribute: Attribute, value: string) => boolean): LeafRule => ({
  takes: 'a string',
  accepts: (value) => typeof value === 'string',
  matches: (attribute, value) => compare(attribute, value as string),
});

const scalarRule = (matches: LeafRule['matches']): LeafRule => ({ takes: 'a scalar', accepts: isScalar, matches });
const listRule = (matches: LeafRule['matches']): LeafRule => ({
  takes: 'an array of scalars',
  accepts: isScalars,
  matches,
});

const LEAF_RULES: ReadonlyMap<string, LeafRule> = new Map([
  ['equals', scalarRule((attribute, value) => attribute === value)],
  // Bedrock documents that notEquals also matches documents without the key.
  ['notEquals', scalarRule((attribute, value) => attribute !== value)],
  ['in', listRule((attribute, value) => holds(value, attribute))],
  ['notIn', listRule((attribute, value) => !holds(value, attribute))],
  ['greaterThan', numberRule((attribute, value) => attribute > value)],
  ['greaterThanOrEquals', numberRule((attribute, value) => attribute >= value)],
  ['lessThan', numberRule((attribute, value) => attribute < value)],
  ['lessThanOrEquals', numberRule((attribute, value) => attribute <= value)],
  ['startsWith', stringRule((attribute, value) => typeof attribute === 'string' && attribute.startsWith(value))],
  ['stringContains', stringRule((attribute, value) => containsString(attribute, value))],
  ['listContains', scalarRule((attribute, value) => Array.isArray(attribute) && attribute.includes(value))],
]);

const containsString = (attribute: Attribute, value: string): boolean =>
  typeof attribute === 'string'
    ? attribute.includes(value)
    : Array.isArray(attribute) && attribute.some((member: string) => member.includes(value));

const isGroup = (operator: string): boolean => operator === 'andAll' || operator === 'orAll';

const onlyEntry = (filter: object): [string, unknown] => {
  const [entry] = Object.entries(filter);
  return entry ?? ['', undefined];
};

/**
 * Checks a filter as the service would and returns it unchanged.
 *
 * The SDK sends a malformed node unchecked, so a typo that disabled a tenant filter must be refused here.
 *
 * @throws ValidationException naming the place, e.g. `filter.andAll[1]`.
 */
export const parseFilter = (value: unknown, path: string, depth = 0): RetrievalFilter => {
  const node = asObject(value, path);
  if (depth > DEPTH_MAX) throw invalid(`${path} is nested too deeply`);
  if (Object.keys(node).length !== 1) throw invalid(`${path} must have exactly one key`);
  const [operator, operand] = onlyEntry(node);
  const here = `${path}.${operator}`;
  if (isGroup(operator)) {
    const members = asArray(operand, here);
    if (members.length < 2) throw invalid(`${here} must have at least 2 members`);
    members.forEach((member, index) => parseFilter(member, `${here}[${index}]`, depth + 1));
  } else {
    checkLeaf(operator, operand, path);
  }
  return node;
};

const checkLeaf = (operator: string, operand: unknown, path: string): void => {
  const rule = LEAF_RULES.get(operator);
  if (!rule) throw invalid(`${path} has the unknown operator '${operator}'`);
  const here = `${path}.${operator}`;
  const leaf = asObject(operand, here);
  const key = asString(leaf['key'], `${here}.key`);
  if (key.length < 1 || key.length > KEY_LENGTH_MAX) throw invalid(`${here}.key must have 1 to 100 characters`);
  if (!rule.accepts(leaf['value'])) throw invalid(`${here}.value must be ${rule.takes}`);
};

/** Whether a document with this metadata passes a filter that `parseFilter` accepted. */
export const matchesFilter = (filter: RetrievalFilter, metadata: Metadata): boolean => {
  const [operator, operand] = onlyEntry(filter);
  if (operator === 'andAll') return (operand as RetrievalFilter[]).every((member) => matchesFilter(member, metadata));
  if (operator === 'orAll') return (operand as RetrievalFilter[]).some((member) => matchesFilter(member, metadata));
  const { key, value } = operand as Leaf<unknown>;
  const attribute = Object.hasOwn(metadata, key) ? metadata[key] : undefined;
  return LEAF_RULES.get(operator)?.matches(attribute, value) ?? false;
};
