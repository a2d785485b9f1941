import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { buildSchema, type GraphQLSchema } from 'graphql';

const ROOT = join(import.meta.dirname, '../..');

/** The schema as it is in `schema/`, as clients are given it. */
export const PUBLISHED = join(ROOT, 'schema.graphql');
/** The schema that clients were told of last. */
export const RELEASED = join(ROOT, 'docs/schema/released.graphql');
/** What was different from one release to the next. */
export const CHANGELOG = join(ROOT, 'docs/schema/changelog.json');

export const readSchema = (path: string): GraphQLSchema => buildSchema(readFileSync(path, 'utf8'));

/** This day, in UTC. */
export const today = (): string => new Date().toISOString().slice(0, 10);
