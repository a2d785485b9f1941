import type { Import } from './sources.ts';

/** What the files of one place may import. Patterns match whole names: `*` is any part of a path, `**` any path. */
export interface Place {
  /** The files of this place. The first place that fits a file is its place. */
  readonly files: readonly string[];
  /** Files and packages whose values, and types, may be imported. A file of the same folder needs no entry only where `own` says so. */
  readonly values: readonly string[];
  /** Those of which only types may be imported. */
  readonly types: readonly string[];
}

/** One value taken across a border that only types may cross, because it is a pure function of the model. */
export interface Exception {
  readonly from: string;
  readonly to: string;
  readonly kind: Import['kind'];
  readonly names: readonly string[];
}

export const DOMAINS = [
  ...[
    'agents',
    'alerts',
    'audit',
    'auth',
    'conversations',
    'exports',
    'federation',
    'parked',
    'partners',
    'tenants',
    'usage',
    'users',
  ],
] as const;

const KERNEL = 'src/kernel/*';
const TENANCY = 'src/tenancy/*';
const MODELS = DOMAINS.map((domain) => `src/${domain}/model.ts`);
const PORTS = DOMAINS.map((domain) => `src/${domain}/ports.ts`);
const DOMAIN_FILES = DOMAINS.map((domain) => `src/${domain}/*`);

/** What every domain may import: no other domain, no GraphQL, no SDK. */
const domain = (name: string): Place => ({
  files: [`src/${name}/*`],
  values: [`src/${name}/*`, KERNEL, TENANCY, 'dataloader', 'node:crypto'],
  types: [],
});

/** What every adapter may import, and the packages that are this one's reason to exist. */
const adapter = (files: readonly string[], ...packages: readonly string[]): Place => ({
  files,
  values: [`${folderOf(files[0] ?? '')}/*`, KERNEL, TENANCY, ...packages],
  types: [...MODELS, ...PORTS],
});

const folderOf = (pattern: string): string => pattern.slice(0, pattern.lastIndexOf('/'));

const DYNAMODB_SDK = ['@aws-sdk/client-dynamodb', '@aws-sdk/lib-dynamodb', '@smithy/node-http-handler'];

/** Who may import whom (architecture.md, style.md §3). A file that fits no place is a fault. */
export const PLACES: readonly Place[] = [
  { files: [KERNEL], values: [KERNEL, 'node:*'], types: [] },
  { files: [TENANCY], values: [TENANCY, KERNEL, 'node:crypto'], types: [] },
  { ...domain('usage'), values: [...domain('usage').values, 'luxon'] },
  ...DOMAINS.map(domain),

  // Only these four speak to DynamoDB; the stores beside them speak to `table.ts`.
  adapter(
    ['index', 'table', 'tables', 'all-rows'].map((file) => `src/adapters/dynamodb/${file}.ts`),
    ...DYNAMODB_SDK,
    'node:http',
    'node:https',
  ),
  adapter(['src/adapters/dynamodb/*'], 'node:crypto', 'node:zlib'),
  adapter(
    ['src/adapters/bedrock/*'],
    '@aws-sdk/client-bedrock-agent-runtime',
    '@smithy/node-http-handler',
    'cockatiel',
    'node:http',
    'node:https',
  ),
  adapter(['src/adapters/jwt/*'], 'jose', 'zod', 'node:crypto'),
  adapter(['src/adapters/argon2/*'], 'cockatiel', 'node:crypto', 'node:util'),
  adapter(['src/adapters/outbound/*'], ...['ipaddr.js', 'node:dns/promises', 'node:http', 'node:https', 'node:net']),
  adapter(['src/adapters/webhook/*'], 'src/adapters/outbound/*'),
  adapter(['src/adapters/oidc/*'], 'src/adapters/outbound/*', 'jose', 'zod', 'node:http'),
  adapter(['src/adapters/files/*'], 'node:fs/promises', 'node:path'),
  adapter(['src/adapters/memory/*'], 'rate-limiter-flexible'),
  adapter(['src/adapters/redis/*'], 'ioredis', 'rate-limiter-flexible', 'node:crypto'),

  { files: ['src/context.ts'], values: [], types: [KERNEL, TENANCY, ...DOMAIN_FILES, 'dataloader'] },
  {
    files: ['directives/*'],
    values: ['directives/*', KERNEL, TENANCY, 'graphql', '@graphql-tools/utils'],
    types: ['src/context.ts'],
  },
  {
    files: ['resolvers/**'],
    values: ['resolvers/**', KERNEL, 'graphql', 'graphql-scalars'],
    types: ['src/context.ts', TENANCY, ...DOMAIN_FILES],
  },
  {
    files: ['src/server/*', 'src/server/operations/*'],
    values: [
      ...[
        'src/server/*',
        'src/server/operations/*',
        'src/context.ts',
        KERNEL,
        TENANCY,
        ...DOMAIN_FILES,
        'directives/*',
        'resolvers/*',
      ],
      ...['@apollo/server', '@apollo/server/*', '@apollo/server/plugin/disabled', '@as-integrations/fastify'],
      ...[
        '@fastify/compress',
        '@fastify/cors',
        '@fastify/helmet',
        '@fastify/proxy-addr',
        '@graphql-tools/schema',
        '@graphql-tools/utils',
        'altair-static',
        'fastify',
        'graphql',
        'graphql-ws',
      ],
      ...['negotiator', 'pino', 'prom-client', 'ws', 'node:*', 'node:fs/promises'],
    ],
    types: [],
  },

  // `npm run demo` is a program of its own, a client of a running server: of this one it knows the settings, not the insides.
  {
    files: ['src/local/demo.ts'],
    values: ['src/local/*', KERNEL, 'src/config.ts', 'graphql-ws', 'ws', 'node:*'],
    types: [],
  },
  // Programs of their own too: clients of a running installation, and a look at the schema as it lies here.
  {
    files: ['src/manifest/*'],
    values: [
      ...['src/manifest/*', 'src/config.ts', 'src/partners/operation-id.ts', '@graphql-codegen/cli', 'node:*'],
      ...['src/server/schema.ts', 'src/server/operations/published-check.ts'],
    ],
    types: [],
  },
  // Programs again: what became of the schema since clients were told of it.
  {
    files: ['src/schema-changes/*'],
    values: ['src/schema-changes/*', '@graphql-inspector/core', '@graphql-tools/utils', 'graphql', 'luxon', 'node:*'],
    types: [],
  },
  {
    files: ['src/local/dynamodb/*'],
    values: ['src/local/dynamodb/*', KERNEL, 'dynalite', 'dynalite/db/index.js', 'node:*'],
    types: [],
  },
  {
    files: ['src/local/bedrock/*'],
    values: ['src/local/bedrock/*', KERNEL, '@smithy/core/event-streams', 'node:*'],
    types: [],
  },
  {
    files: ['src/local/*'],
    values: ['src/local/**', KERNEL, TENANCY, ...MODELS, 'node:*', 'node:fs/promises'],
    types: [...PORTS, 'jose'],
  },

  {
    files: ['src/config.ts', 'src/http-config.ts', 'src/identity-config.ts'],
    values: ['src/http-config.ts', 'src/identity-config.ts', 'zod', 'node:*'],
    types: ['src/agents/model.ts', 'jose'],
  },
  // What stands around the product, embedded or real, and what is done to it beside serving.
  {
    files: ['src/backends.ts', 'src/commands.ts', 'src/identity.ts', 'src/offboarding.ts'],
    values: [
      'src/backends.ts',
      'src/adapters/**',
      'src/local/**',
      'src/audit/*',
      'src/auth/*',
      'src/federation/*',
      'src/tenants/*',
      'src/usage/*',
      'src/users/*',
      KERNEL,
      TENANCY,
      'node:util',
    ],
    types: ['src/config.ts', 'src/server/log.ts'],
  },
  { files: ['src/main.ts'], values: ['**'], types: [] },
];

/** As narrow as they are: this file, that one, these names. */
export const EXCEPTIONS: readonly Exception[] = [
  {
    from: 'src/adapters/dynamodb/user-directory.ts',
    to: 'src/users/model.ts',
    kind: 'value',
    names: ['isActiveAdmin', 'Standing', 'UserAccount'],
  },
  {
    from: 'src/adapters/dynamodb/audit-store.ts',
    to: 'src/audit/model.ts',
    kind: 'value',
    names: ['dayOf', 'ChainedEntry'],
  },
  {
    from: 'src/adapters/dynamodb/keys.ts',
    to: 'src/usage/periods.ts',
    kind: 'type',
    names: ['PeriodKind'],
  },
  {
    from: 'src/adapters/dynamodb/usage-store.ts',
    to: 'src/usage/periods.ts',
    kind: 'value',
    names: ['CLOSE_AFTER_MS', 'CLOSE_AGAIN_MS', 'periodEnd', 'periodName', 'PeriodKind'],
  },
  {
    from: 'src/adapters/dynamodb/period-store.ts',
    to: 'src/usage/periods.ts',
    kind: 'value',
    names: ['PeriodKind', 'periodName'],
  },
  {
    from: 'src/adapters/dynamodb/alert-store.ts',
    to: 'src/alerts/model.ts',
    kind: 'value',
    names: ['alertName', 'UsageAlert'],
  },
  {
    from: 'src/adapters/dynamodb/message-store.ts',
    to: 'src/conversations/model.ts',
    kind: 'value',
    names: ['messageId', 'parseMessageId', 'Message'],
  },
  {
    from: 'src/adapters/dynamodb/message-store.ts',
    to: 'src/conversations/metering.ts',
    kind: 'value',
    names: ['tokenUsage', 'TurnMetering'],
  },
  {
    from: 'src/adapters/memory/stream-log.ts',
    to: 'src/conversations/model.ts',
    kind: 'value',
    names: ['isTerminal', 'StreamEvent'],
  },

  // Over Redis each instance still works by itself: what it writes it holds in memory, and without Redis it goes on with that alone.
  ...['stream-store', 'stream-copies', 'stream-reader', 'stream-log'].map((file): Exception => ({
    from: `src/adapters/redis/${file}.ts`,
    to: 'src/conversations/model.ts',
    kind: 'value',
    names: ['isTerminal', ...(file === 'stream-log' ? [] : ['StreamEvent'])],
  })),
  {
    from: 'src/adapters/redis/stream-copies.ts',
    to: 'src/adapters/memory/stream-log.ts',
    kind: 'type',
    names: ['HeldStream', 'MemoryStreamLogs'],
  },
  {
    from: 'src/adapters/redis/stream-reader.ts',
    to: 'src/adapters/memory/stream-log.ts',
    kind: 'value',
    names: ['streamBroken'],
  },
  {
    from: 'src/adapters/redis/stream-log.ts',
    to: 'src/adapters/memory/stream-log.ts',
    kind: 'value',
    names: ['KEPT_AFTER_END_MS', 'MemoryStreamLogs'],
  },
  {
    from: 'src/adapters/redis/index.ts',
    to: 'src/adapters/memory/stream-log.ts',
    kind: 'value',
    names: ['createMemoryStreamLogs'],
  },
  {
    from: 'src/adapters/redis/index.ts',
    to: 'src/adapters/memory/usage-changes.ts',
    kind: 'value',
    names: ['createMemoryUsageChanges'],
  },
  {
    from: 'src/adapters/redis/attempt-counters.ts',
    to: 'src/adapters/memory/attempt-counters.ts',
    kind: 'value',
    names: ['attemptCounter', 'createMemoryAttemptLimiter'],
  },
  {
    from: 'src/adapters/redis/index.ts',
    to: 'src/adapters/memory/rate-limiter.ts',
    kind: 'value',
    names: ['createMemoryRateLimiter'],
  },
];

/** Files besides those of `PLACES` that may exist: tests, benchmarks, and the settings of tools. */
export const OTHER_PLACES = [
  'schema/*.graphql',
  'test/**',
  'bench/**',
  'codegen.ts',
  'eslint.config.ts',
  'vitest.config.ts',
];

/** The only reader of the environment. */
export const ENVIRONMENT_READERS = ['src/config.ts'];

/** Names that say nothing, and so collect everything. */
export const EMPTY_NAMES = ['util', 'utils', 'helper', 'helpers', 'common', 'manager', 'managers'];

export const LINES_MAX = 400;
export const TEST_LINES_MAX = 600;
