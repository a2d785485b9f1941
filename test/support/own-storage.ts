import { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { DynamoDBDocumentClient, ScanCommand, UpdateCommand } from '@aws-sdk/lib-dynamodb';
import { createPasswordHasher } from '../../src/adapters/argon2/password-hasher.ts';
import { createDynamoDb } from '../../src/adapters/dynamodb/index.ts';
import { tenantKeys } from '../../src/adapters/dynamodb/keys.ts';
import { newSigningKey } from '../../src/adapters/jwt/access-tokens.ts';
import { isoTime, systemClock } from '../../src/kernel/clock.ts';
import { seedDemoData } from '../../src/local/demo-data.ts';
import { startLocalDynamoDb } from '../../src/local/dynamodb/engine.ts';
import { newUserId } from '../../src/tenancy/principal.ts';
import { parseTenantId } from '../../src/tenancy/tenant-id.ts';
import { UNLIMITED, type UsageLimits } from '../../src/tenants/model.ts';
import { CHEAP_HASHES, testConfig } from './world.ts';

const CURSOR_SECRET = 'a secret of the tests, long enough for it';

/**
 * An engine with the demo data that the test holds itself, in place of the one inside the product: it can look at the rows as
 * they are, and write what the API has no operation for. Start a world on it with its `config`.
 */
export async function startOwnStorage() {
  // Both SDK clients find their credentials where every AWS SDK does.
  process.env['AWS_ACCESS_KEY_ID'] ??= 'embedded';
  process.env['AWS_SECRET_ACCESS_KEY'] ??= 'embedded';
  const engine = await startLocalDynamoDb();
  const { tablePrefix, region, demoPassword } = testConfig();
  const common = { region, endpoint: engine.endpoint };
  const db = createDynamoDb({ ...common, tablePrefix, cursorSecret: CURSOR_SECRET, clock: systemClock });
  await db.createTables();
  const hasher = createPasswordHasher(CHEAP_HASHES);
  const usersOf = (home: Parameters<typeof db.forTenant>[0]) => db.forTenant(home).users;
  const partnersOf = (home: Parameters<typeof db.forTenant>[0]) => db.forTenant(home);
  await seedDemoData({ tenants: db.tenants, usersOf, partnersOf, hasher, clock: systemClock, password: demoPassword });
  const raw = DynamoDBDocumentClient.from(new DynamoDBClient(common));

  return {
    db,
    hasher,
    config: {
      storage: { kind: 'dynamodb', endpoint: engine.endpoint },
      secrets: { signingKey: await newSigningKey(), cursorSecret: CURSOR_SECRET },
    } as const,
    /** A tenant with these limits, and an administrator `admin@<slug>.example` with the demo password. */
    async addTenant(slug: string, limits: Partial<UsageLimits> = {}) {
      const id = parseTenantId(slug)!;
      const at = isoTime(Date.now());
      await db.tenants.create({
        ...{ id, name: slug, status: 'ACTIVE', agentIds: ['support'], knowledgeBaseIds: ['KBSUPPORT1'] },
        ...{
          limits: { ...UNLIMITED, ...limits },
          features: [],
          conversationRetentionDays: null,
          alertPercentages: null,
          allowedOrigins: [],
          version: 1,
          createdAt: at,
          updatedAt: at,
        },
      });
      const passwordHash = await hasher.hash(demoPassword);
      const account = { userId: newUserId(Date.now()), name: slug, email: `admin@${slug}.example`, passwordHash };
      await db.forTenant(id).users.register({ ...account, roles: ['TENANT_ADMIN'] }, Date.now());
    },
    async suspend(slug: string) {
      await raw.send(
        new UpdateCommand({
          TableName: `${tablePrefix}app`,
          Key: { ...tenantKeys(parseTenantId(slug)!).tenant() },
          UpdateExpression: 'SET #status = :suspended',
          ExpressionAttributeNames: { '#status': 'status' },
          ExpressionAttributeValues: { ':suspended': 'SUSPENDED' },
        }),
      );
    },
    /** Every row of the application's table. */
    async rows(): Promise<Record<string, unknown>[]> {
      const found: Record<string, unknown>[] = [];
      let ExclusiveStartKey: Record<string, unknown> | undefined;
      do {
        const page = await raw.send(
          new ScanCommand({ TableName: `${tablePrefix}app`, ...(ExclusiveStartKey && { ExclusiveStartKey }) }),
        );
        found.push(...(page.Items ?? []));
        ExclusiveStartKey = page.LastEvaluatedKey;
      } while (ExclusiveStartKey);
      return found;
    },
    async close() {
      db.close();
      raw.destroy();
      await engine.close();
    },
  };
}
