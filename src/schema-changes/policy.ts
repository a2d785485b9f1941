import { MapperKind, mapSchema, pruneSchema } from '@graphql-tools/utils';
import type { GraphQLSchema } from 'graphql';
import { DateTime } from 'luxon';
import { changesBetween } from './changes.ts';

/** How long clients are told beforehand that something will be taken away. */
const MONTHS_MIN = 3;

interface Element {
  readonly deprecationReason?: string | null | undefined;
}

/** The day after which something may be taken away: `@deprecated(reason: "… Removed after 2027-03-01.")`. Null where there is none. */
export function removalDate({ deprecationReason }: Element): string | null {
  const [, date = ''] = /\bRemoved after (\d{4}-\d\d-\d\d)\.$/.exec(deprecationReason ?? '') ?? [];
  return DateTime.fromISO(date).isValid ? date : null;
}

/** Goes through everything that can be deprecated; what `visit` returns null for is left out of the result. */
const mapElements = (schema: GraphQLSchema, visit: (coordinate: string, element: Element) => null | undefined) =>
  mapSchema(schema, {
    [MapperKind.COMPOSITE_FIELD]: (field, name, type) => visit(`${type}.${name}`, field),
    [MapperKind.INPUT_OBJECT_FIELD]: (field, name, type) => visit(`${type}.${name}`, field),
    [MapperKind.ARGUMENT]: (argument, field, type) =>
      visit(`${type}.${field}(${argument.astNode?.name.value}:)`, argument),
    [MapperKind.ENUM_VALUE]: (value, type, _schema, name) => visit(`${type}.${name}`, value),
  });

function deprecationsOf(schema: GraphQLSchema): Map<string, Element> {
  const found = new Map<string, Element>();
  mapElements(schema, (coordinate, element) => {
    if (element.deprecationReason != null) found.set(coordinate, element);
    return undefined;
  });
  return found;
}

/** What was promised of the released schema on a day: without all that may be gone by then, and all that is reached only by that. */
const promised = (released: GraphQLSchema, day: string): GraphQLSchema =>
  pruneSchema(
    mapElements(released, (_coordinate, element) => ((removalDate(element) ?? day) < day ? null : undefined)),
  );

function deprecationFaults(released: GraphQLSchema, current: GraphQLSchema, day: string): string[] {
  const earliest = DateTime.fromISO(day, { zone: 'utc' }).plus({ months: MONTHS_MIN }).toISODate() ?? '';
  const before = deprecationsOf(released);
  return [...deprecationsOf(current)].flatMap(([coordinate, element]) => {
    const date = removalDate(element);
    const given = before.get(coordinate);
    const announced = given && removalDate(given);
    if (date === null) return [`${coordinate}: its reason must end with "Removed after YYYY-MM-DD."`];
    if (announced != null && date < announced) return [`${coordinate}: clients were told ${announced}, not ${date}`];
    if (announced == null && date < earliest)
      return [`${coordinate}: ${date} is too early, ${earliest} is the first day`];
    return [];
  });
}

/**
 * What is against the policy of `docs/schema.md` in going from the released schema to the current one on a day (YYYY-MM-DD, UTC):
 * breaking changes of what was not deprecated, or not long enough; deprecations without a day, or with one too near.
 */
export async function policyFaults(released: GraphQLSchema, current: GraphQLSchema, day: string): Promise<string[]> {
  const changes = await changesBetween(promised(released, day), current);
  const broken = changes
    .filter(({ level }) => level === 'BREAKING')
    .map(({ coordinate, message }) => `${coordinate}: ${message}`);
  return [...broken, ...deprecationFaults(released, current, day)];
}
