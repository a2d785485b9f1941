import { createDynamoDb } from './adapters/dynamodb/index.ts';
import { openStorage, type Surroundings } from './backends.ts';
import type { Config } from './config.ts';
import { systemClock } from './kernel/clock.ts';

const say = (line: string) => process.stdout.write(`${line}\n`);

/** `npm run tables:create`: the tables an installation on DynamoDB needs, with time to live. Doing it again changes nothing. */
export async function createTables({ region, tablePrefix, storage }: Config): Promise<void> {
  if (storage.kind === 'embedded') throw new Error('The embedded engine makes its own tables; set STORAGE=dynamodb.');
  const endpoint = storage.endpoint ? { endpoint: storage.endpoint } : {};
  const db = createDynamoDb({ region, tablePrefix, cursorSecret: '', clock: systemClock, ...endpoint });
  await db.createTables();
  await db.enableTimeToLive();
  db.close();
  say(`The tables ${tablePrefix}app, ${tablePrefix}usage and ${tablePrefix}audit are there.`);
}

/**
 * `npm run turns:retry`: has the turns that were put aside repaired again, by whichever instance sweeps next. With the embedded
 * engine the server has to be stopped meanwhile: the engine lives in it.
 */
export async function retryParkedTurns(config: Config, surroundings: Surroundings): Promise<void> {
  const { db, engine } = await openStorage(config, surroundings);
  try {
    const parked = await db.due.parked();
    for (const { tenantId, turnKey, turnId, parkedAt } of parked) {
      const unparked = await db.forTenant(tenantId).turns.unpark(turnKey, surroundings.clock.now());
      if (unparked) say(`${tenantId} ${turnId}, put aside at ${parkedAt}: will be repaired again.`);
    }
    if (parked.length === 0) say('No turn was put aside.');
  } finally {
    db.close();
    await engine.close();
  }
}
