import type { DynamoDb } from './adapters/dynamodb/index.ts';
import { createSign, type Sign } from './audit/chain.ts';
import { recordAlone } from './audit/closed-trails.ts';
import { createAgentMemories } from './adapters/bedrock/agent-memories.ts';
import { openBedrock, openCoordination, openStorage, type Surroundings } from './backends.ts';
import type { Config } from './config.ts';
import { isoTime, type Clock } from './kernel/clock.ts';
import { PLATFORM, type TenantId } from './tenancy/tenant-id.ts';
import { createTenantRemoval, type RemovalLog } from './tenants/removing.ts';

export interface OffboardingDependencies {
  readonly db: DynamoDb;
  readonly shared: { forget(tenantId: TenantId): Promise<void> };
  readonly memories: { forget(tenantId: TenantId, userIds: AsyncIterable<string>): Promise<void> };
  readonly sign: Sign;
  readonly clock: Clock;
  readonly log: RemovalLog;
}

/** Whoever may have asked in a tenant: its users, its partners' programs, and the operators. */
async function* askersIn(db: DynamoDb, tenantId: TenantId): AsyncGenerator<string> {
  for (const home of [tenantId, PLATFORM]) {
    const { userDirectory, apiKeys } = db.forTenant(home);
    for (let cursor: string | null = null, more = true; more;) {
      const { nodes, pageInfo } = await userDirectory.page({ direction: 'forward', size: 100, cursor });
      yield* nodes.map(({ id }) => id);
      [cursor, more] = [pageInfo.endCursor, pageInfo.hasNextPage];
    }
    yield* (await apiKeys.list()).map(({ id }) => id);
  }
}

/** The removal of tenants, as instances do it in the background, and the command below. */
export function assembleRemoval({ db, shared, memories, sign, clock, log }: OffboardingDependencies) {
  const record = recordAlone(db.audit, sign, clock);
  return createTenantRemoval({
    store: db.removals,
    directory: db.tenants,
    rows: db.allRows,
    hasOpenTurns: (tenantId) => db.due.hasOpenTurns(tenantId),
    async forgetElsewhere(tenantId) {
      await shared.forget(tenantId);
      await memories.forget(tenantId, askersIn(db, tenantId));
    },
    record: ({ tenantId, rowsRemoved, requestedAt }) =>
      record({ action: 'tenant.removed', resource: `tenant/${tenantId}`, details: { rowsRemoved, requestedAt } }),
    clock,
    log,
  });
}

/**
 * `npm run tenants:offboard`: does all that can be done now for the tenants that are being removed, and says how far each is. For
 * installations whose instances may not do it (`OFFBOARDING=command`); again until nothing is left to do.
 */
export async function offboardTenants(config: Config, surroundings: Surroundings): Promise<void> {
  const say = (line: string) => process.stdout.write(`${line}\n`);
  const { db, engine, secrets } = await openStorage(config, surroundings);
  const shared = openCoordination(config, surroundings);
  const { client, definitions, emulator } = await openBedrock(config, surroundings.clock);
  const memories = createAgentMemories(client, definitions);
  try {
    const { clock } = surroundings;
    const failed = (tenantId: TenantId | null, error: unknown) => {
      process.exitCode = 1;
      say(`${tenantId ?? 'all'}: failed, ${error instanceof Error ? error.message : String(error)}`);
    };
    const sign = createSign(secrets.cursorSecret);
    const log: RemovalLog = { removed: () => {}, removalFailed: failed };
    const begun = await db.removals.open();
    await assembleRemoval({ db, shared, memories, sign, clock, log }).round();
    for (const { tenantId } of begun) {
      const removal = await db.removals.get(tenantId);
      if (!removal) continue;
      const { phase, rowsRemoved, verifyFrom } = removal;
      const next = phase === 'VERIFYING' ? `, to be verified from ${isoTime(verifyFrom ?? 0)}` : '';
      say(`${tenantId}: ${phase}, ${rowsRemoved} rows removed${next}.`);
    }
    if (begun.length === 0) say('No tenant is being removed.');
  } finally {
    client.destroy();
    await emulator.close();
    await shared.close();
    db.close();
    await engine.close();
  }
}
