import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startOwnStorage } from '../support/own-storage.ts';
import { startWorld, type World } from '../support/world.ts';

const LIMIT = 5_000;
const HELD = 2_000;

describe('sendMessage in a tenant with limits', () => {
  let storage: Awaited<ReturnType<typeof startOwnStorage>>;
  let world: World;
  beforeAll(async () => {
    storage = await startOwnStorage();
    for (const slug of ['initech', 'hooli']) await storage.addTenant(slug, { tokensPerDay: LIMIT });
    world = await startWorld({ config: { ...storage.config, quotaReserveTokens: HELD } });
  });
  afterAll(async () => {
    await world.stop();
    await storage.close();
  });

  const used = async (admin: Awaited<ReturnType<World['signIn']>>) => {
    const [start, end] = [new Date(Date.now() - 3_600_000), new Date(Date.now() + 3_600_000)];
    const { data } = await admin.run(
      `query($start: DateTime!, $end: DateTime!) { usageSummary(start: $start, end: $end) { tokens { totalTokens } } }`,
      { start: start.toISOString(), end: end.toISOString() },
    );
    return data.usageSummary.tokens.totalTokens as number;
  };

  it('QUOTA_EXCEEDED with limit, remaining and resetAt once the day is used up; the agent is not asked, and nothing is stored', async () => {
    const admin = await world.signIn('initech', 'admin@initech.example');
    const id = await admin.createConversation();
    await admin.ask(id, '[[emulate inputTokens=5400 outputTokens=100]] hello');
    const asked = world.product.served().length;

    const refused = await admin.ask(id, 'And again?');
    expect(refused.status).toBe(200);
    const tomorrow = new Date(Date.now() + 86_400_000).toISOString().slice(0, 10);
    const facts = { code: 'QUOTA_EXCEEDED', limit: LIMIT, remaining: 0, resetAt: `${tomorrow}T00:00:00.000Z` };
    expect(refused.errors[0]?.extensions).toEqual(facts);
    expect(world.product.served()).toHaveLength(asked);
    const { data } = await admin.run(`query($id: ID!) { conversation(id: $id) { messageCount } }`, { id });
    expect(data.conversation.messageCount).toBe(2);
    expect(await used(admin)).toBe(5_500);
  });

  it('of 50 concurrent senders as many are served as there is room for, and one at most beyond', async () => {
    const admin = await world.signIn('hooli', 'admin@hooli.example');
    const ids = await Promise.all(Array.from({ length: 50 }, () => admin.createConversation()));
    const content = '[[emulate inputTokens=1900 outputTokens=100]] hello';
    const answers = await Promise.all(ids.map((id) => admin.ask(id, content)));
    const served = answers.filter(({ code }) => code === undefined);
    expect(answers.filter(({ code }) => code === 'QUOTA_EXCEEDED')).toHaveLength(50 - served.length);
    const total = await used(admin);
    expect(total).toBe(served.length * 2_000);
    expect(total).toBeLessThan(LIMIT + HELD);
    expect(total).toBeGreaterThanOrEqual(LIMIT);
  });
});
