import { matchesGlob } from 'node:path/posix';
import { describe, expect, it, test } from 'vitest';
import { faultsOf, unusedExceptions } from './architecture/rules.ts';
import { importsOf, readTree, type SourceText } from './architecture/sources.ts';
import { DOMAINS, PLACES } from './architecture/table.ts';

const tree = readTree();

const known = faultsOf(tree);

/** What is wrong with the tree once these files are in it, besides what was wrong before. */
const faultsWith = (...added: readonly SourceText[]): string[] => {
  const paths = added.map(({ path }) => path);
  const changed = [...tree.filter(({ path }) => !paths.includes(path)), ...added];
  return faultsOf(changed).filter((fault) => !known.includes(fault));
};

const lines = (count: number): string => Array.from({ length: count }, (_, index) => `// ${index}`).join('\n');

describe('the tree', () => {
  it('keeps every rule of the house', () => {
    expect(known).toEqual([]);
  });

  it('needs every exception that is made for it', () => {
    expect(unusedExceptions(tree.filter(({ path }) => path.endsWith('.ts')).flatMap(importsOf))).toEqual([]);
  });

  it('has a file in every place of the table: no rule is written for nothing', () => {
    const empty = PLACES.flatMap(({ files }) => files).filter(
      (pattern) => !tree.some(({ path }) => matchesGlob(path, pattern)),
    );
    expect(empty).toEqual([]);
  });
});

/** A file, and one import it may not have. */
const FORBIDDEN: readonly (readonly [rule: string, path: string, text: string])[] = [
  ['the kernel knows Node and nothing else', 'src/kernel/x.ts', `import { z } from 'zod';`],
  [
    'the kernel knows no tenancy, not even its types',
    'src/kernel/x.ts',
    `import type { Role } from '../tenancy/principal.ts';`,
  ],
  ['tenancy knows no domain', 'src/tenancy/x.ts', `import type { Tenant } from '../tenants/model.ts';`],
  ['tenancy knows no package', 'src/tenancy/x.ts', `import { SignJWT } from 'jose';`],
  ...DOMAINS.flatMap((domain) => {
    const other = domain === 'users' ? 'agents' : 'users';
    return [
      [`${domain} knows no other domain`, `src/${domain}/x.ts`, `import { x } from '../${other}/model.ts';`],
      [
        `${domain} knows no other domain's types`,
        `src/${domain}/x.ts`,
        `import type { X } from '../${other}/model.ts';`,
      ],
      [`${domain} knows no GraphQL`, `src/${domain}/x.ts`, `import { GraphQLError } from 'graphql';`],
      [`${domain} knows no SDK`, `src/${domain}/x.ts`, `import type { X } from '@aws-sdk/client-dynamodb';`],
      [
        `${domain} knows no adapter`,
        `src/${domain}/x.ts`,
        `import type { X } from '../adapters/memory/stream-log.ts';`,
      ],
      [
        `${domain} touches nothing outside the process`,
        `src/${domain}/x.ts`,
        `import { readFileSync } from 'node:fs';`,
      ],
    ] as const;
  }),
  [
    'an adapter takes no service',
    'src/adapters/memory/x.ts',
    `import { createUsageService } from '../../usage/service.ts';`,
  ],
  [
    'an adapter takes no service, not even its type',
    'src/adapters/memory/x.ts',
    `import type { X } from '../../usage/service.ts';`,
  ],
  [
    'an adapter takes only types of a model',
    'src/adapters/memory/x.ts',
    `import { newUserId } from '../../users/model.ts';`,
  ],
  [
    'an exception holds for its names only',
    'src/adapters/memory/stream-log.ts',
    `import { newConversationId } from '../../conversations/model.ts';`,
  ],
  [
    'an exception holds for its file only',
    'src/adapters/dynamodb/x.ts',
    `import { messageId } from '../../conversations/model.ts';`,
  ],
  [
    'an adapter knows no other adapter',
    'src/adapters/jwt/x.ts',
    `import { createPasswordHasher } from '../argon2/password-hasher.ts';`,
  ],
  ['only the Redis adapter has its client', 'src/adapters/memory/x.ts', `import { Redis } from 'ioredis';`],
  ['an adapter has only its own packages', 'src/adapters/memory/x.ts', `import { z } from 'zod';`],
  [
    'a store does not speak to DynamoDB itself',
    'src/adapters/dynamodb/x-store.ts',
    `import { GetCommand } from '@aws-sdk/lib-dynamodb';`,
  ],
  [
    'a store takes not even types of the DynamoDB SDK',
    'src/adapters/dynamodb/x-store.ts',
    `import type { DynamoDBClient } from '@aws-sdk/client-dynamodb';`,
  ],
  [
    'only the Bedrock adapter has the Bedrock SDK',
    'src/adapters/dynamodb/index.ts',
    `import { InvokeAgentCommand } from '@aws-sdk/client-bedrock-agent-runtime';`,
  ],
  [
    'the Bedrock adapter has no DynamoDB SDK',
    'src/adapters/bedrock/x.ts',
    `import type { DynamoDBClient } from '@aws-sdk/client-dynamodb';`,
  ],
  ['the context is types only', 'src/context.ts', `import { AppError } from './kernel/errors.ts';`],
  ['the context names no adapter', 'src/context.ts', `import type { X } from './adapters/memory/stream-log.ts';`],
  ['directives take only types of the context', 'directives/x.ts', `import { x } from '../src/context.ts';`],
  ['directives know no domain', 'directives/x.ts', `import type { Tenant } from '../src/tenants/model.ts';`],
  [
    'resolvers take no value of a domain',
    'resolvers/Query/x.ts',
    `import { newConversationId } from '../../src/conversations/model.ts';`,
  ],
  [
    'resolvers know no directive',
    'resolvers/Query/x.ts',
    `import { applyDirectives } from '../../directives/index.ts';`,
  ],
  [
    'resolvers know no adapter',
    'resolvers/Query/x.ts',
    `import type { X } from '../../src/adapters/memory/stream-log.ts';`,
  ],
  ['the server knows no adapter', 'src/server/x.ts', `import type { X } from '../adapters/memory/stream-log.ts';`],
  [
    'the server knows nothing of the embedded stack',
    'src/server/x.ts',
    `import { startLocalDynamoDb } from '../local/dynamodb/engine.ts';`,
  ],
  ['the server is given its settings', 'src/server/x.ts', `import type { Config } from '../config.ts';`],
  ['nobody imports main', 'src/server/x.ts', `import { start } from '../main.ts';`],
  [
    'the embedded stack knows no service',
    'src/local/x.ts',
    `import { createTenantService } from '../tenants/service.ts';`,
  ],
  [
    'the embedded stack knows no adapter',
    'src/local/x.ts',
    `import { createDynamoDb } from '../adapters/dynamodb/index.ts';`,
  ],
  [
    'the emulators know no domain',
    'src/local/bedrock/x.ts',
    `import { messageId } from '../../conversations/model.ts';`,
  ],
  [
    'the configuration takes only types',
    'src/config.ts',
    `import { createAgentCatalogue } from './agents/catalogue.ts';`,
  ],
];

test.each(FORBIDDEN)('red: %s', (_rule, path, text) => {
  const reported = faultsWith({ path, text }).filter((fault) => fault.startsWith(`${path} may not import the`));
  expect(reported).toHaveLength(1);
});

describe('red, in whatever way it is imported:', () => {
  test.each([
    ['export … from', `export { GraphQLError } from 'graphql';`],
    ['export * from', `export * from 'graphql';`],
    ['export type … from', `export type { GraphQLSchema } from 'graphql';`],
    ['a bare import', `import 'graphql';`],
    ['a dynamic import', `const graphql = await import('graphql');`],
    ['a dynamic import of something computed', `const name = 'graphql'; await import(name);`],
    ['require', `const graphql = require('graphql');`],
    ['createRequire', `createRequire(import.meta.url)('graphql');`],
    ['import = require', `import graphql = require('graphql');`],
    ['an import type', `let schema: import('graphql').GraphQLSchema;`],
    ['a worker', `new Worker(new URL('../local/dynamodb/worker.ts', import.meta.url));`],
  ])('%s', (_way, text) => {
    expect(faultsWith({ path: 'src/usage/x.ts', text })).toEqual([
      expect.stringContaining('src/usage/x.ts may not import'),
    ]);
  });
});

describe('red: an import cycle', () => {
  it('between files that load each other', () => {
    const one = { path: 'src/usage/one.ts', text: `import { two } from './two.ts'; export const one = () => two;` };
    const two = { path: 'src/usage/two.ts', text: `import { one } from './one.ts'; export const two = () => one;` };
    expect(faultsWith(one, two)).toEqual(['src/usage/one.ts → src/usage/two.ts → src/usage/one.ts']);
  });

  it('that a type in braces closes: such an import still loads the file', () => {
    const one = { path: 'src/usage/one.ts', text: `import { two } from './two.ts'; export type One = typeof two;` };
    const two = { path: 'src/usage/two.ts', text: `import { type One } from './one.ts'; export const two = 2 as One;` };
    expect(faultsWith(one, two)).toEqual(['src/usage/one.ts → src/usage/two.ts → src/usage/one.ts']);
    expect(faultsWith(one, { ...two, text: two.text.replace('{ type One }', 'type { One }') })).toEqual([]);
  });

  it('between folders, if only by type', () => {
    const path = 'src/kernel/x.ts';
    const faults = faultsWith({ path, text: `import type { Role } from '../tenancy/principal.ts';` });
    expect(faults).toContain('src/kernel → src/tenancy → src/kernel');
  });
});

describe('red: a file', () => {
  test.each([
    ['in no known folder', 'src/billing/model.ts', ''],
    ['beside the known ones in src', 'src/shortcuts.ts', ''],
    ['deeper than its domain goes', 'src/usage/deep/x.ts', ''],
    ['that is no TypeScript', 'src/usage/x.js', ''],
    ['beside the settings of tools', 'start.ts', ''],
    ['with code beside the schema', 'schema/scalars.ts', ''],
    ['of over 400 lines', 'src/usage/long.ts', lines(401)],
    ['of the schema of over 400 lines', 'schema/long.graphql', lines(401)],
    ['of over 600 lines of tests', 'test/long.test.ts', lines(601)],
    ['named utils', 'src/usage/utils.ts', ''],
    ['named after helpers', 'test/support/test-helpers.ts', ''],
    ['named common', 'src/kernel/common.ts', ''],
    ['named after a manager', 'src/conversations/conversation-manager.ts', ''],
    ['in a folder of that kind', 'test/utils/clock.ts', ''],
    ['that reads process.env', 'src/usage/x.ts', 'export const x = process.env.X;'],
    ['that reads it by another way', 'src/usage/x.ts', `export const x = process['env']['X'];`],
    ['that takes it apart', 'src/main.ts', 'const { env } = process;'],
    ['that imports it', 'src/main.ts', `import { env } from 'node:process';`],
  ])('%s', (_what, path, text) => {
    expect(faultsWith({ path, text }).filter((fault) => fault.includes(path))).not.toEqual([]);
  });

  test.each([
    ['of just 400 lines', 'src/usage/long.ts', `${lines(400)}\n`],
    ['of just 600 lines of tests', 'test/long.test.ts', lines(600)],
    ['that was generated, however long', 'resolvers/types.generated.ts', lines(5_000)],
  ])('but green: one %s', (_what, path, text) => {
    expect(faultsWith({ path, text })).toEqual([]);
  });
});
