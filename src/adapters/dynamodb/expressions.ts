/** Collects names and values of one request; every name is an alias, so that no attribute meets a reserved word. */
export function createBindings() {
  const names = new Map<string, string>();
  const values: Record<string, unknown> = {};
  let count = 0;
  return {
    name(attribute: string): string {
      const alias = names.get(attribute) ?? `#n${names.size}`;
      names.set(attribute, alias);
      return alias;
    },
    value(value: unknown): string {
      const alias = `:v${count++}`;
      values[alias] = value;
      return alias;
    },
    parameters: () => ({
      ...(names.size > 0 && {
        ExpressionAttributeNames: Object.fromEntries([...names].map(([attribute, alias]) => [alias, attribute])),
      }),
      ...(count > 0 && { ExpressionAttributeValues: values }),
    }),
  };
}

export type Bindings = ReturnType<typeof createBindings>;

/** A condition or filter, written into a request by binding its names and values there. */
export type Condition = (bind: Bindings) => string;

export const present =
  (name: string): Condition =>
  (bind) =>
    `attribute_exists(${bind.name(name)})`;
export const absent =
  (name: string): Condition =>
  (bind) =>
    `attribute_not_exists(${bind.name(name)})`;
export const equals =
  (name: string, value: unknown): Condition =>
  (bind) =>
    `${bind.name(name)} = ${bind.value(value)}`;
export const below =
  (name: string, value: unknown): Condition =>
  (bind) =>
    `${bind.name(name)} < ${bind.value(value)}`;
export const above =
  (name: string, value: unknown): Condition =>
  (bind) =>
    `${bind.name(name)} > ${bind.value(value)}`;
export const atMost =
  (name: string, value: unknown): Condition =>
  (bind) =>
    `${bind.name(name)} <= ${bind.value(value)}`;
export const allOf =
  (...conditions: readonly Condition[]): Condition =>
  (bind) =>
    conditions.map((condition) => `(${condition(bind)})`).join(' AND ');

export const anyOf =
  (...conditions: readonly Condition[]): Condition =>
  (bind) =>
    conditions.map((condition) => `(${condition(bind)})`).join(' OR ');

export interface Changes {
  readonly set?: Readonly<Record<string, unknown>>;
  /** Attributes that take over what another held before the write. */
  readonly copy?: Readonly<Record<string, string>>;
  readonly add?: Readonly<Record<string, number>>;
  readonly remove?: readonly string[];
}

/** An UpdateExpression; attributes to set that are undefined are left as they are. */
export function updateExpression({ set = {}, copy = {}, add = {}, remove = [] }: Changes, bind: Bindings): string {
  const sets = Object.entries(set).filter(([, value]) => value !== undefined);
  const clauses = [
    [
      'SET',
      [
        ...sets.map(([name, value]) => `${bind.name(name)} = ${bind.value(value)}`),
        ...Object.entries(copy).map(([name, from]) => `${bind.name(name)} = ${bind.name(from)}`),
      ],
    ],
    ['ADD', Object.entries(add).map(([name, value]) => `${bind.name(name)} ${bind.value(value)}`)],
    ['REMOVE', remove.map((name) => bind.name(name))],
  ] as const;
  return clauses.flatMap(([verb, parts]) => (parts.length > 0 ? [`${verb} ${parts.join(', ')}`] : [])).join(' ');
}
