import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { makeExecutableSchema } from '@graphql-tools/schema';
import { buildSchema, type GraphQLSchema } from 'graphql';
import { applyDirectives } from '../../directives/index.ts';
import { resolvers } from '../../resolvers/index.ts';
import type { ContextBinder } from '../context.ts';
import { weightFaults } from './operations/weights.ts';

const SCHEMA_DIR = join(import.meta.dirname, '../../schema');

/** The schema's text, one entry a file. */
export const readTypeDefs = (): string[] =>
  globSync('*.graphql', { cwd: SCHEMA_DIR })
    .sort()
    .map((name) => readFileSync(join(SCHEMA_DIR, name), 'utf8'));

/** The schema without anything behind it: to look at documents with. */
export const buildPlainSchema = (typeDefs: readonly string[] = readTypeDefs()): GraphQLSchema =>
  buildSchema(typeDefs.join('\n'));

/** @throws if the schema breaks the isolation policy, or does not say what reading it costs. */
export function createSchema(binder: ContextBinder, typeDefs: readonly string[] = readTypeDefs()): GraphQLSchema {
  const schema = applyDirectives(makeExecutableSchema({ typeDefs: [...typeDefs], resolvers }), binder);
  const faults = weightFaults(schema);
  if (faults.length > 0) throw new Error(`The schema does not say what reading it costs:\n- ${faults.join('\n- ')}`);
  return schema;
}
