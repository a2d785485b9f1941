import { invalid } from './service-error.ts';

/** A JSON object of unknown members. */
export type JsonObject = Readonly<Record<string, unknown>>;

const isObject = (value: unknown): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** `value` as an object; throws a ValidationException naming `path` for anything else. */
export const asObject = (value: unknown, path: string): JsonObject => {
  if (!isObject(value)) throw invalid(`${path} must be an object`);
  return value;
};

/** `value` as an array; throws a ValidationException naming `path` for anything else. */
export const asArray = (value: unknown, path: string): readonly unknown[] => {
  if (!Array.isArray(value)) throw invalid(`${path} must be an array`);
  return value;
};

/** `value` as a string; throws a ValidationException naming `path` for anything else. */
export const asString = (value: unknown, path: string): string => {
  if (typeof value !== 'string') throw invalid(`${path} must be a string`);
  return value;
};

/** `value` as a boolean, an absent one as false; throws a ValidationException naming `path` for anything else. */
export const asFlag = (value: unknown, path: string): boolean => {
  if (value === undefined || value === null) return false;
  if (typeof value !== 'boolean') throw invalid(`${path} must be a boolean`);
  return value;
};

/** `value` as a whole number within the bounds; throws a ValidationException naming `path` for anything else. */
export const asWhole = (value: unknown, path: string, min: number, max: number): number => {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < min || value > max)
    throw invalid(`${path} must be a whole number from ${min} to ${max}`);
  return value;
};

/** An absent object reads as an empty one, so that optional structures need no special case. */
export const asOptionalObject = (value: unknown, path: string): JsonObject =>
  value === undefined || value === null ? {} : asObject(value, path);

/** An absent array reads as an empty one. */
export const asOptionalArray = (value: unknown, path: string): readonly unknown[] =>
  value === undefined || value === null ? [] : asArray(value, path);

/** A map from string to string, as session attributes are; absent reads as empty. */
export const asStringMap = (value: unknown, path: string): Readonly<Record<string, string>> =>
  Object.fromEntries(
    Object.entries(asOptionalObject(value, path)).map(([key, member]) => [key, asString(member, `${path}.${key}`)]),
  );
