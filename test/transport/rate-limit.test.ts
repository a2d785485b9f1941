import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createTestClock } from '../support/clock.ts';
import { startOwnStorage } from '../support/own-storage.ts';
import { startWorld, STREAM, type World } from '../support/world.ts';

const LIMIT = 6;

describe('a tenant with requestsPerMinute', () => {
  const clock = createTestClock(Date.now());
  let storage: Awaited<ReturnType<typeof startOwnStorage>>;
  let world: World;
  beforeAll(async () => {
    storage = await startOwnStorage();
    for (const slug of ['initech', 'hooli', 'umbrella']) await storage.addTenant(slug, { requestsPerMinute: LIMIT });
    world = await startWorld({ clock, config: storage.config });
  });
  afterAll(async () => {
    await world.stop();
    await storage.close();
  });

  const QUERY = '{ tenant { id } }';

  it('RATE_LIMITED with 429, limit, remaining, resetAt and retryAfterMs; other tenants go on; time brings it back', async () => {
    const admin = await world.signIn('initech', 'admin@initech.example');
    for (let n = 0; n < LIMIT; n++) expect((await admin.run(QUERY)).code).toBeUndefined();
    const refused = await admin.run(QUERY);
    expect(refused).toMatchObject({ status: 429, code: 'RATE_LIMITED' });
    const { limit, remaining, retryAfterMs, resetAt } = refused.errors[0]!.extensions;
    expect({ limit, remaining, retryAfterMs }).toEqual({ limit: LIMIT, remaining: 0, retryAfterMs: 10_000 });
    expect(resetAt).toBe(new Date(clock.now() + 60_000).toISOString());
    expect((await world.acme.admin.run(QUERY)).code).toBeUndefined();

    await clock.advance(9_999);
    expect((await admin.run(QUERY)).code).toBe('RATE_LIMITED'); // and being refused costs nothing
    await clock.advance(1);
    expect((await admin.run(QUERY)).code).toBeUndefined();
    expect((await admin.run(QUERY)).code).toBe('RATE_LIMITED');
  });

  it('counts an operation once, whatever it asks for, over either transport; not its events, not viewer, not an acting operator', async () => {
    const admin = await world.signIn('hooli', 'admin@hooli.example');
    const id = await admin.createConversation(); // 1
    const sent = await admin.ask(id, '[[emulate chunks=50]] hello'); // 2
    const messageId = sent.data.sendMessage.assistantMessage.id as string;
    let events = 0;
    for await (const { errors } of admin.stream(STREAM, { messageId })) {
      // 3
      expect(errors).toBeUndefined();
      events++;
    }
    expect(events).toBeGreaterThan(10);
    await admin.run('{ viewer { id } }');
    await world.operator.with({ 'x-tenant-id': 'hooli' }).run(QUERY);
    await admin.run('{ a: tenant { id } b: tenant { id } agents { id } conversations { nodes { id } } }'); // 4
    for await (const { errors } of admin.stream(QUERY)) expect(errors).toBeUndefined(); // 5
    expect((await admin.run(QUERY)).code).toBeUndefined(); // 6
    expect((await admin.run(QUERY)).code).toBe('RATE_LIMITED');
    for await (const { errors } of admin.stream(QUERY))
      expect(errors?.[0]?.extensions).toMatchObject({ code: 'RATE_LIMITED' });
  });

  it('a refused mutation changes nothing', async () => {
    const admin = await world.signIn('umbrella', 'admin@umbrella.example');
    const id = await admin.createConversation();
    for (let n = 1; n < LIMIT; n++) await admin.run(QUERY);
    const before = await storage.rows();
    expect(await admin.ask(id, 'hello')).toMatchObject({ code: 'RATE_LIMITED', status: 429 });
    expect(await storage.rows()).toEqual(before);
  });
});
