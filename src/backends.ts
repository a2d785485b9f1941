import type { PasswordCost } from './adapters/argon2/password-hasher.ts';
import { createMemoryCoordination } from './adapters/memory/index.ts';
import { createRedis } from './adapters/redis/index.ts';
import { createBedrockClient } from './adapters/bedrock/client.ts';
import { createDynamoDb, type DynamoDbOptions } from './adapters/dynamodb/index.ts';
import { newSigningKey } from './adapters/jwt/access-tokens.ts';
import type { Config } from './config.ts';
import type { Clock } from './kernel/clock.ts';
import { ulid } from './kernel/ids.ts';
import { startBedrockEmulator, type BedrockEmulator } from './local/bedrock/emulator.ts';
import { demoAgents, demoPassages } from './local/demo-corpus.ts';
import { demoAgentDefinitions } from './local/demo-data.ts';
import { startLocalDynamoDb } from './local/dynamodb/engine.ts';
import { loadSecrets } from './local/secrets.ts';
import type { Logger } from './server/log.ts';
import { createUsageRetention } from './usage/retention.ts';

/** What the embedded parts are called with: they check signatures as little as they check who is asking. */
const EMBEDDED_CREDENTIALS = { accessKeyId: 'embedded', secretAccessKey: 'embedded' };
/** The SDK's tries last as long as the embedded engine takes to restart. */
const EMBEDDED_ATTEMPTS = 8;

/** What the product finds around it. */
export interface Surroundings {
  readonly clock: Clock;
  readonly log: Logger;
  /** Told of every request to DynamoDB. */
  readonly onDynamoDbRequest?: NonNullable<DynamoDbOptions['onRequest']>;
  /** What a hash of a password costs; what OWASP asks for without it. */
  readonly passwordCost?: PasswordCost;
}

interface Closable {
  close(): Promise<void>;
}

const NOTHING_TO_CLOSE: Closable = { close: () => Promise.resolve() };
const NO_EMULATOR: Pick<BedrockEmulator, 'served' | 'close'> = { ...NOTHING_TO_CLOSE, served: () => [] };

/** DynamoDB, the engine inside this process or the real one, and what the installation keeps to itself. */
export async function openStorage(config: Config, { clock, log, onDynamoDbRequest }: Surroundings) {
  const { region, tablePrefix, storage, dataDir } = config;
  const usageRetention = createUsageRetention(config.usageRetention);
  const common = {
    region,
    tablePrefix,
    usageRetention,
    clock,
    ...(onDynamoDbRequest && { onRequest: onDynamoDbRequest }),
  };
  if (storage.kind === 'dynamodb') {
    if (!config.secrets) throw new Error('The configuration has no secrets.');
    const { cursorSecret } = config.secrets;
    const db = createDynamoDb({ ...common, cursorSecret, ...(storage.endpoint && { endpoint: storage.endpoint }) });
    if (storage.endpoint) {
      await db.createTables().catch((cause: unknown) => {
        throw new Error(`DYNAMODB_ENDPOINT: ${storage.endpoint}: ${(cause as Error).message}`, { cause });
      });
    }
    return { db, engine: NOTHING_TO_CLOSE, secrets: config.secrets };
  }
  const engine = await startLocalDynamoDb({
    ...(dataDir !== null && { dataDir }),
    clock,
    onEvent: (event) => log.warn({ event }, 'embedded DynamoDB'),
  });
  // After the engine has locked the folder: of two processes that start at once, one makes the secrets.
  const secrets = config.secrets ?? (await loadSecrets(dataDir, newSigningKey));
  const embedded = { endpoint: engine.endpoint, credentials: EMBEDDED_CREDENTIALS, maxAttempts: EMBEDDED_ATTEMPTS };
  const db = createDynamoDb({ ...common, cursorSecret: secrets.cursorSecret, ...embedded });
  await db.createTables();
  return { db, engine, secrets };
}

/** Bedrock: the emulator inside this process, or the real one. */
export async function openBedrock({ bedrock, region, bedrockIdleTimeoutMs: idleTimeoutMs }: Config, clock: Clock) {
  if (bedrock.kind === 'aws') {
    return {
      client: createBedrockClient({ region, idleTimeoutMs }),
      definitions: bedrock.agents,
      emulator: NO_EMULATOR,
    };
  }
  const { chunksPerSecond } = bedrock;
  const emulator = await startBedrockEmulator({ agents: demoAgents, passages: demoPassages, chunksPerSecond, clock });
  const credentials = EMBEDDED_CREDENTIALS;
  const client = createBedrockClient({ region, idleTimeoutMs, endpoint: emulator.url, credentials });
  return { client, definitions: demoAgentDefinitions, emulator };
}

/** What instances share: in Redis, or in this process where it is the only one. */
export function openCoordination({ redisUrl, tablePrefix }: Config, { clock, log }: Surroundings) {
  if (redisUrl === null) return createMemoryCoordination(clock);
  return createRedis({
    url: redisUrl,
    prefix: `${tablePrefix}redis`,
    instanceId: ulid(clock.now()),
    clock,
    log: {
      onState: (state, reason) =>
        state === 'up'
          ? log.info('Redis is there')
          : log.warn({ reason }, 'Redis is away: this instance goes on alone'),
    },
  });
}
