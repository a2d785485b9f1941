import { existsSync, readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { join } from 'node:path';
import { z } from 'zod';
import type { AgentDefinition } from './agents/model.ts';
import { corsOriginsOf, httpEnvironment, operationLimitsOf, tlsOf, type OperationLimits } from './http-config.ts';
import { identityEnvironment, identityOf, type IdentityConfig } from './identity-config.ts';

/** Everything the installation can set. The names, their meaning and their defaults are listed in `.env.example`. */
export interface Config extends IdentityConfig {
  readonly production: boolean;
  readonly host: string;
  readonly port: number;
  /** Where metrics and health are, away from callers of the API. */
  readonly adminHost: string;
  readonly adminPort: number;
  /** What a socket's reader may leave unread before the socket is closed. */
  readonly socketBacklogBytes: number;
  /** Where the embedded parts keep their data; null: in memory, gone at the end. */
  readonly dataDir: string | null;
  /** Where audit entries wait for the store, null: in memory only; and how many bytes of them. */
  readonly auditSpool: { readonly dir: string | null; readonly bytesMax: number };
  readonly logLevel: string;
  readonly corsOrigins: readonly string[];
  /** The server's certificate and its key, in PEM; null: it speaks plain HTTP. */
  readonly tls: { readonly cert: string; readonly key: string } | null;
  readonly explorer: boolean;
  /** Whether everybody may read the schema; administrators and operators always may. */
  readonly introspection: boolean;
  readonly operationLimits: OperationLimits;
  readonly shutdownGraceMs: number;
  readonly region: string;
  /** `embedded` runs the engine inside this process, and brings the demo data. */
  readonly storage: { readonly kind: 'embedded' } | { readonly kind: 'dynamodb'; readonly endpoint: string | null };
  readonly tablePrefix: string;
  readonly bedrock:
    | { readonly kind: 'emulated'; readonly chunksPerSecond: number }
    | { readonly kind: 'aws'; readonly agents: readonly AgentDefinition[] };
  readonly bedrockIdleTimeoutMs: number;
  readonly agentLimits: {
    readonly firstTextTimeoutMs: number;
    readonly turnTimeoutMs: number;
    readonly retryBaseMs: number;
  };
  /** Tokens held for a turn before anybody knows what it will use. */
  readonly quotaReserveTokens: number;
  /** Percentages of a token limit at which a tenant is alerted that has set none of its own. */
  readonly alertPercentages: readonly number[];
  /** Whether webhooks may go to this machine itself. */
  readonly webhooksToLoopback: boolean;
  /** What models cost; null: nothing is known, and every token is unpriced. */
  readonly prices: PricesFile | null;
  /** For how many days usage is kept: its events, and the sums of hours and days. */
  readonly usageRetention: {
    readonly turns: number;
    readonly signIns: number;
    readonly hours: number;
    readonly days: number;
  };
  /** Turns that run, and that wait, at the same time in one process. */
  readonly queue: {
    readonly runningMax: number;
    readonly runningPerTenantMax: number;
    readonly waitingMax: number;
    readonly waitingPerTenantMax: number;
    readonly deadlineMs: number;
  };
  /** Turns of a tenant that run for one of another while both wait; 1 where a tenant is not named. */
  readonly tenantWeights: ReadonlyMap<string, number>;
  /** How long text of an answer may be held back to be sent together; the first text never is. */
  readonly streamCoalesceMs: number;
  /** Whether the instances remove tenants themselves; otherwise only `npm run tenants:offboard` does. */
  readonly offboarding: 'background' | 'command';
  /** Null: this is the only instance. */
  readonly redisUrl: string | null;
  readonly demoPassword: string;
}

const DEMO_PASSWORD_DEFAULT = 'demo-demo-demo';

const whole = (min: number, max: number, byDefault: number) =>
  z.coerce.number().int().min(min).max(max).default(byDefault);
const flag = z.enum(['true', 'false']).transform((text) => text === 'true');

const RETENTION_DEFAULT = 'turns=400,sign-ins=400,hours=800,days=3650';
/** At least a week: an hour is closed a second time a day after its end, also where all was down for some days. */
const RETENTION = /^((turns|sign-ins|hours|days)=([7-9]|[1-9]\d{1,3})(,|$))*$/;

const environment = z.object({
  ...httpEnvironment,
  NODE_ENV: z.string().default('development'),
  HOST: z.string().min(1).default('127.0.0.1'),
  PORT: whole(0, 65_535, 4000),
  ADMIN_HOST: z.string().min(1).default('127.0.0.1'),
  ADMIN_PORT: whole(0, 65_535, 4001),
  SOCKET_BACKLOG_BYTES: whole(1_024, 2 ** 30, 4_194_304),
  DATA_DIR: z.string().min(1).default('.data'),
  AUDIT_SPOOL_DIR: z.string().min(1).optional(),
  AUDIT_SPOOL_BYTES: whole(1_048_576, 2 ** 40, 268_435_456),
  LOG_LEVEL: z.enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']).default('info'),
  EXPLORER: flag.optional(),
  INTROSPECTION: flag.optional(),
  SHUTDOWN_GRACE_MS: whole(0, 600_000, 10_000),
  AWS_REGION: z.string().min(1).default('us-east-1'),
  STORAGE: z.enum(['embedded', 'dynamodb']).optional(),
  DYNAMODB_ENDPOINT: z.url().optional(),
  TABLE_PREFIX: z
    .string()
    .regex(/^[\w.-]{0,200}$/)
    .default('bedrock-graphql-'),
  BEDROCK: z.enum(['emulated', 'aws']).default('emulated'),
  BEDROCK_IDLE_TIMEOUT_MS: whole(100, 900_000, 60_000),
  AGENT_FIRST_TEXT_TIMEOUT_MS: whole(100, 900_000, 60_000),
  AGENT_TURN_TIMEOUT_MS: whole(1_000, 3_600_000, 600_000),
  AGENT_RETRY_BASE_MS: whole(1, 10_000, 200),
  EMULATOR_CHUNKS_PER_SECOND: whole(1, 100_000, 40),
  AGENTS_FILE: z.string().min(1).optional(),
  QUOTA_RESERVE_TOKENS: whole(1, 1_000_000, 4_000),
  USAGE_ALERT_PERCENTAGES: z
    .string()
    .regex(/^(100|[1-9]\d?)(,(100|[1-9]\d?)){0,9}$/, 'Write it like 80,100: at most ten whole numbers from 1 to 100')
    .default('80,100'),
  WEBHOOKS_TO_LOOPBACK: flag.optional(),
  PRICES_FILE: z.string().min(1).optional(),
  USAGE_RETENTION_DAYS: z
    .string()
    .regex(RETENTION, `Write it like ${RETENTION_DEFAULT}, with days from 7 to 9999`)
    .default(RETENTION_DEFAULT),
  GENERATIONS_MAX: whole(1, 10_000, 100),
  GENERATIONS_PER_TENANT_MAX: whole(1, 10_000, 60),
  QUEUE_MAX: whole(0, 100_000, 1_000),
  QUEUE_PER_TENANT_MAX: whole(0, 100_000, 250),
  QUEUE_DEADLINE_MS: whole(1_000, 3_600_000, 120_000),
  TENANT_WEIGHTS: z
    .string()
    .regex(/^([a-z][a-z0-9-]*=([1-9]\d?|100)(,|$))*$/, 'Write it like acme=3,globex=1, with weights from 1 to 100')
    .default(''),
  STREAM_COALESCE_MS: whole(0, 1_000, 40),
  REDIS_URL: z
    .url({ protocol: /^rediss?$/, error: 'Write it like redis://127.0.0.1:6379, or rediss:// for TLS' })
    .optional(),
  OFFBOARDING: z.enum(['background', 'command']).default('background'),
  DEMO_PASSWORD: z.string().min(8).optional(),
  ...identityEnvironment,
});

/** At most 10 letters and digits (InvokeAgent). */
const bedrockId = z.string().regex(/^[0-9a-zA-Z]{1,10}$/);

const agentsFile = z
  .array(
    z.object({
      id: z.string().regex(/^[a-z][a-z0-9-]{0,62}$/),
      name: z.string().min(1),
      description: z.string().nullable().default(null),
      agentId: bedrockId,
      aliasId: bedrockId,
      /** Asked in this order when the alias above fails. */
      fallbackAliasIds: z.array(bedrockId).default([]),
      modelId: z.string().nullable().default(null),
      knowledgeBaseIds: z.array(bedrockId).default([]),
      memory: z.boolean().default(false),
    }),
  )
  .min(1);

/** For a million tokens. So that what a turn of any size costs is a whole number of billionths that JSON can hold. */
const dollars = z.number().min(0).max(10_000);

const pricesFile = z.strictObject({
  version: z.string().min(1).max(100),
  prices: z
    .array(
      z.strictObject({
        model: z.string().min(1),
        from: z.iso.datetime(),
        inputPerMillion: dollars,
        outputPerMillion: dollars,
      }),
    )
    .refine(
      (prices) => new Set(prices.map(({ model, from }) => `${Date.parse(from)} ${model}`)).size === prices.length,
      {
        error: 'a model has two prices from the same moment',
      },
    ),
});

type PricesFile = z.infer<typeof pricesFile>;

/** Every name that may be set, for the documentation to be checked against. */
export const CONFIG_KEYS: readonly string[] = Object.keys(environment.shape);

type Environment = z.infer<typeof environment>;

const isLoopback = (host: string): boolean =>
  host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'));

/** The environment of this process, with what a `.env` file in the working directory adds to it. */
export function processEnvironment(): Readonly<Record<string, string | undefined>> {
  if (existsSync('.env')) process.loadEnvFile('.env');
  return process.env;
}

/** Whether npm runs this process, through a shell. */
export const startedByNpm = (): boolean => process.env['npm_lifecycle_event'] !== undefined;

/**
 * Reads the configuration from environment variables. An empty variable counts as one that is not set.
 * @throws one error that lists every fault.
 */
export function readConfig(env: Readonly<Record<string, string | undefined>>): Config {
  const given = Object.fromEntries(Object.entries(env).filter(([, value]) => value !== undefined && value !== ''));
  const parsed = environment.safeParse(given);
  const issues = parsed.success ? [] : parsed.error.issues;
  const faults = issues.map(({ path, message }) => `${path.join('.')}: ${message}`);
  // What else is wrong is found with the faulty ones left out.
  const wrong = issues.map(({ path }) => path[0]);
  const config = derive(
    environment.parse(Object.fromEntries(Object.entries(given).filter(([key]) => !wrong.includes(key)))),
    faults,
  );
  if (faults.length > 0) throw configError(firstOfEach(faults));
  return config;
}

/** A setting that is wrong counts as one that is missing in what follows: it is reported once. */
const firstOfEach = (faults: readonly string[]) =>
  [...new Map(faults.toReversed().map((fault) => [fault.split(':')[0], fault])).values()].toReversed();

const configError = (faults: readonly string[]) => new Error(`The configuration is wrong:\n- ${faults.join('\n- ')}`);

function derive(env: Environment, faults: string[]): Config {
  const production = env.NODE_ENV === 'production';
  const storage = storageOf(env, faults);
  const embedded = storage.kind === 'embedded';
  if (production && embedded)
    faults.push('STORAGE: the embedded engine does not serve production; set STORAGE=dynamodb');
  if (production && env.BEDROCK === 'emulated')
    faults.push('BEDROCK: the emulator does not serve production; set BEDROCK=aws');
  if (production && env.WEBHOOKS_TO_LOOPBACK)
    faults.push('WEBHOOKS_TO_LOOPBACK: in production, no webhook goes to the server itself; unset it');
  if (env.PORT !== 0 && env.PORT === env.ADMIN_PORT)
    faults.push('ADMIN_PORT: it is PORT too; each needs one of its own');
  if (embedded && !isLoopback(env.HOST) && !env.DEMO_PASSWORD) {
    faults.push('DEMO_PASSWORD: set one, or listen on a loopback address: the default password is public');
  }
  return {
    production,
    host: env.HOST,
    port: env.PORT,
    adminHost: env.ADMIN_HOST,
    adminPort: env.ADMIN_PORT,
    socketBacklogBytes: env.SOCKET_BACKLOG_BYTES,
    dataDir: folderOf(env.DATA_DIR),
    auditSpool: { dir: folderOf(env.AUDIT_SPOOL_DIR ?? join(env.DATA_DIR, 'audit')), bytesMax: env.AUDIT_SPOOL_BYTES },
    logLevel: env.LOG_LEVEL,
    corsOrigins: corsOriginsOf(env, faults),
    tls: tlsOf(env, faults),
    explorer: env.EXPLORER ?? !production,
    introspection: env.INTROSPECTION ?? embedded,
    operationLimits: operationLimitsOf(env),
    shutdownGraceMs: env.SHUTDOWN_GRACE_MS,
    region: env.AWS_REGION,
    storage,
    tablePrefix: env.TABLE_PREFIX,
    bedrock: bedrockOf(env, faults),
    bedrockIdleTimeoutMs: env.BEDROCK_IDLE_TIMEOUT_MS,
    agentLimits: {
      firstTextTimeoutMs: env.AGENT_FIRST_TEXT_TIMEOUT_MS,
      turnTimeoutMs: env.AGENT_TURN_TIMEOUT_MS,
      retryBaseMs: env.AGENT_RETRY_BASE_MS,
    },
    quotaReserveTokens: env.QUOTA_RESERVE_TOKENS,
    alertPercentages: [...new Set(env.USAGE_ALERT_PERCENTAGES.split(',').map(Number))].sort((a, b) => a - b),
    webhooksToLoopback: env.WEBHOOKS_TO_LOOPBACK ?? embedded,
    prices: readPrices(env.PRICES_FILE, faults),
    usageRetention: retentionOf(env.USAGE_RETENTION_DAYS, faults),
    queue: {
      runningMax: env.GENERATIONS_MAX,
      runningPerTenantMax: env.GENERATIONS_PER_TENANT_MAX,
      waitingMax: env.QUEUE_MAX,
      waitingPerTenantMax: env.QUEUE_PER_TENANT_MAX,
      deadlineMs: env.QUEUE_DEADLINE_MS,
    },
    tenantWeights: weightsOf(env.TENANT_WEIGHTS),
    streamCoalesceMs: env.STREAM_COALESCE_MS,
    offboarding: env.OFFBOARDING,
    redisUrl: env.REDIS_URL ?? null,
    demoPassword: env.DEMO_PASSWORD ?? DEMO_PASSWORD_DEFAULT,
    ...identityOf(env, embedded, faults),
  };
}

/** A folder by its name; null where nothing is to be kept. */
const folderOf = (name: string): string | null => (name.startsWith(':memory:') ? null : name);

const weightsOf = (text: string): ReadonlyMap<string, number> =>
  new Map(
    text.split(',').flatMap((part) => {
      const [tenant, weight] = part.split('=');
      return tenant && weight ? [[tenant, Number(weight)]] : [];
    }),
  );

/** What is not named keeps its default. */
function retentionOf(text: string, faults: string[]): Config['usageRetention'] {
  const days = new Map(`${RETENTION_DEFAULT},${text}`.split(',').map((part) => part.split('=') as [string, string]));
  const of = (name: string) => Number(days.get(name));
  const kept = { turns: of('turns'), signIns: of('sign-ins'), hours: of('hours'), days: of('days') };
  if (kept.hours < Math.max(kept.turns, kept.signIns))
    faults.push('USAGE_RETENTION_DAYS: hours lead to their events, so they are kept at least as long');
  if (kept.days < kept.hours) faults.push('USAGE_RETENTION_DAYS: days are kept at least as long as hours');
  return kept;
}

function storageOf({ STORAGE, DYNAMODB_ENDPOINT }: Environment, faults: string[]): Config['storage'] {
  if (STORAGE === 'embedded' && DYNAMODB_ENDPOINT)
    faults.push('DYNAMODB_ENDPOINT: the embedded engine has its own; unset one');
  const kind = STORAGE ?? (DYNAMODB_ENDPOINT ? 'dynamodb' : 'embedded');
  return kind === 'embedded' ? { kind } : { kind, endpoint: DYNAMODB_ENDPOINT ?? null };
}

function bedrockOf(
  { BEDROCK, AGENTS_FILE, EMULATOR_CHUNKS_PER_SECOND }: Environment,
  faults: string[],
): Config['bedrock'] {
  if (BEDROCK === 'emulated') return { kind: 'emulated', chunksPerSecond: EMULATOR_CHUNKS_PER_SECOND };
  return { kind: 'aws', agents: readAgents(AGENTS_FILE, faults) };
}

function readAgents(path: string | undefined, faults: string[]): readonly AgentDefinition[] {
  if (!path) {
    faults.push('AGENTS_FILE: needed with BEDROCK=aws');
    return [];
  }
  const agents = readJson(path, agentsFile, 'AGENTS_FILE', faults) ?? [];
  return agents.map(({ agentId, aliasId, fallbackAliasIds, ...agent }) => ({
    ...agent,
    bedrock: { agentId, aliasIds: [aliasId, ...fallbackAliasIds] as const },
  }));
}

function readPrices(path: string | undefined, faults: string[]): PricesFile | null {
  return path === undefined ? null : readJson(path, pricesFile, 'PRICES_FILE', faults);
}

/** A file of settings; null, and a fault, when it cannot be read or is not what it should be. */
function readJson<T>(path: string, shape: z.ZodType<T>, setting: string, faults: string[]): T | null {
  try {
    return shape.parse(JSON.parse(readFileSync(path, 'utf8')));
  } catch (error) {
    const reason = error instanceof z.ZodError ? z.prettifyError(error) : (error as Error).message;
    faults.push(`${setting}: ${reason}`);
    return null;
  }
}
