import { expect, it } from 'vitest';
import { createDynamoDb } from '../../src/adapters/dynamodb/index.ts';
import { startLocalDynamoDb } from '../../src/local/dynamodb/engine.ts';
import { parseTenantId } from '../../src/tenancy/tenant-id.ts';
import { closeDay, closeHour } from '../../src/usage/closing.ts';
import { DAY_MS, HOUR_MS, periodName } from '../../src/usage/periods.ts';
import { NO_PRICES } from '../../src/usage/prices.ts';
import { createUsageService } from '../../src/usage/service.ts';
import { createTestClock } from '../support/clock.ts';
import { startManyEvents } from '../support/many-events.ts';
import { testConfig } from '../support/world.ts';

const MONTH = Date.parse('2026-10-01T00:00:00.000Z');
const DAYS = 31;
const PER_DAY = 3_226;
const CALLS_MAX = 10;

it(`a summary of a month with ${(DAYS * PER_DAY).toLocaleString('en')} events takes at most ${CALLS_MAX} calls, also with cut ends`, async () => {
  const engine = await startLocalDynamoDb();
  const tenantId = parseTenantId('acme')!;
  const { region, tablePrefix } = testConfig();
  const credentials = { accessKeyId: 'test', secretAccessKey: 'test' };
  const clock = createTestClock(MONTH + 40 * DAY_MS);
  const common = { region, tablePrefix, credentials, cursorSecret: '', clock };
  const bare = createDynamoDb({ ...common, endpoint: engine.endpoint });
  await bare.createTables();
  process.env['AWS_ACCESS_KEY_ID'] ??= 'test';
  process.env['AWS_SECRET_ACCESS_KEY'] ??= 'test';
  // All of a day's turns in its second hour.
  const hour = { tenant: 'acme', startMs: MONTH + HOUR_MS, hours: DAYS, perHour: PER_DAY, everyMs: DAY_MS };
  const many = await startManyEvents(engine.endpoint, hour);
  let calls = 0;
  const onRequest = ({ phase }: { phase: string }) => (calls += phase === 'sent' ? 1 : 0);
  const db = createDynamoDb({ ...common, endpoint: many.endpoint, onRequest });
  try {
    const store = db.forTenant(tenantId).usage;
    for (let day = 0; day < DAYS; day++) {
      const at = MONTH + day * DAY_MS + HOUR_MS;
      expect(await closeHour(store, periodName('HOUR', at), clock)).toBe(true);
      expect(await closeDay(store, periodName('DAY', at), clock)).toBe(true);
    }
    expect(calls).toBeGreaterThan(100); // closing did read them
    const usage = createUsageService({ tenantId, store, prices: NO_PRICES, changed: () => undefined });
    async function read(start: number, end: number) {
      calls = 0;
      const { conversations } = await usage.summary(new Date(start), new Date(end));
      expect(await conversations.uniqueUsers()).toBe(1);
      expect(calls).toBeLessThanOrEqual(CALLS_MAX);
      return conversations.turns;
    }
    expect(await read(MONTH, MONTH + DAYS * DAY_MS)).toBe(DAYS * PER_DAY);
    // A millisecond less at either end; then within the first and the last hour that have events.
    expect(await read(MONTH + 1, MONTH + DAYS * DAY_MS - 1)).toBe(DAYS * PER_DAY);
    const cut = await read(MONTH + 1.5 * HOUR_MS, MONTH + (DAYS - 1) * DAY_MS + 1.5 * HOUR_MS);
    expect(cut).toBe((DAYS - 1) * PER_DAY);
  } finally {
    db.close();
    bare.close();
    await many.close();
    await engine.close();
  }
}, 60_000);
