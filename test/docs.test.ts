import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  buildSchema,
  isEnumType,
  isInputObjectType,
  isInterfaceType,
  isObjectType,
  isSpecifiedDirective,
  isSpecifiedScalarType,
  type GraphQLNamedType,
} from 'graphql';
import { describe, expect, it, test } from 'vitest';
import { CONFIG_KEYS } from '../src/config.ts';
import { systemClock } from '../src/kernel/clock.ts';
import { ERROR_CODES } from '../src/kernel/errors.ts';
import { start } from '../src/main.ts';
import { readTypeDefs } from '../src/server/schema.ts';
import { captureLog } from './support/log-capture.ts';
import { rawHttp } from './support/raw-http.ts';
import { testConfig } from './support/world.ts';

const ROOT = join(import.meta.dirname, '..');
const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8');
const allOf = (text: string, pattern: RegExp): string[] =>
  [...text.matchAll(pattern)].map(([, name = '']) => name).sort();

const schema = buildSchema(readTypeDefs().join('\n'));
const rootFields = [schema.getQueryType(), schema.getMutationType(), schema.getSubscriptionType()].flatMap((type) =>
  Object.keys(type?.getFields() ?? {}),
);

interface Described {
  readonly coordinate: string;
  readonly description: string | null | undefined;
}

function partsOf(type: GraphQLNamedType): Described[] {
  if (isEnumType(type)) {
    return type.getValues().map(({ name, description }) => ({ coordinate: `${type.name}.${name}`, description }));
  }
  if (isInputObjectType(type)) {
    const fields = Object.values(type.getFields());
    return fields.map(({ name, description }) => ({ coordinate: `${type.name}.${name}`, description }));
  }
  if (!isObjectType(type) && !isInterfaceType(type)) return [];
  return Object.values(type.getFields()).flatMap((field) => {
    const coordinate = `${type.name}.${field.name}`;
    const args = field.args.map(({ name, description }) => ({ coordinate: `${coordinate}(${name}:)`, description }));
    return [{ coordinate, description: field.description }, ...args];
  });
}

/** Everything of the schema that a client can meet, but what every GraphQL server has. */
function everythingDescribed(): Described[] {
  const types = Object.values(schema.getTypeMap()).filter(
    (type) => !type.name.startsWith('__') && !isSpecifiedScalarType(type),
  );
  const directives = schema.getDirectives().filter((directive) => !isSpecifiedDirective(directive));
  return [
    ...types.flatMap((type) => [{ coordinate: type.name, description: type.description }, ...partsOf(type)]),
    ...directives.flatMap(({ name, description, args }) => [
      { coordinate: `@${name}`, description },
      ...args.map((arg) => ({ coordinate: `@${name}(${arg.name}:)`, description: arg.description })),
    ]),
  ];
}

describe('the schema', () => {
  it('says what each type, field, argument, enum value and directive is for', () => {
    const described = everythingDescribed();
    expect(described.length).toBeGreaterThan(200);
    expect(described.filter(({ description }) => !description?.trim()).map(({ coordinate }) => coordinate)).toEqual([]);
  });

  const tested = globSync('test/operations/*.test.ts', { cwd: ROOT }).flatMap((path) =>
    allOf(read(path), /^describe\('(\w+)/gm),
  );
  test.each(rootFields)('%s has its tests in a block of its name', (field) => {
    expect(tested).toContain(field);
  });
});

describe('docs/errors.md', () => {
  /** A code is documented by a heading or a table row that begins with it. */
  const documented = () => [...new Set(allOf(read('docs/errors.md'), /^(?:#{2,4} +|\| *)`([A-Z][A-Z_]+)`/gm))];

  it('documents every error code', () => {
    expect(Object.keys(ERROR_CODES).filter((code) => !documented().includes(code))).toEqual([]);
  });

  it('documents no code that is not there, in the catalogue or among those of GraphQL itself', () => {
    const ofTheServer = globSync('src/server/*.ts', { cwd: ROOT }).flatMap((path) => allOf(read(path), /'([A-Z_]+)'/g));
    const known = [...Object.keys(ERROR_CODES), ...ofTheServer];
    expect(documented().filter((code) => !known.includes(code))).toEqual([]);
  });
});

describe('docs/operations.md', () => {
  /** A metric is documented by a table row that begins with it. */
  const documented = () => allOf(read('docs/operations.md'), /^\| *`(bedrock_graphql_\w+)`/gm);

  it('lists every metric of ours that the server exposes, and none that it does not', async () => {
    const { log } = captureLog();
    // With a Redis that is not there: its metrics are exposed, and nothing else asks for it.
    const product = await start(testConfig({ redisUrl: 'redis://127.0.0.1:1' }), { clock: systemClock, log });
    const { text } = await rawHttp(product.adminUrl).get('/metrics');
    await product.stop();
    expect(documented()).toEqual(allOf(text, /^# TYPE (bedrock_graphql_\w+)/gm));
  });
});

describe('the configuration', () => {
  const keys = [...CONFIG_KEYS].sort();

  it('is listed in .env.example, all of it and nothing else', () => {
    expect(allOf(read('.env.example'), /^(?:# ?)?([A-Z][A-Z0-9_]*)=/gm)).toEqual(keys);
  });

  it('is in the table of README.md, all of it and nothing else', () => {
    const section = /^## [^\n]*configuration[^\n]*\n(.*?)(?=^## |(?![^]))/ims.exec(read('README.md'))?.[1] ?? '';
    const firstCells = allOf(section, /^\|([^|]*)\|/gm).join('\n');
    expect(allOf(firstCells, /`([A-Z][A-Z0-9_]*)`/g)).toEqual(keys);
  });
});
