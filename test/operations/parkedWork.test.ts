import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { alertName } from '../../src/alerts/model.ts';
import { ulid } from '../../src/kernel/ids.ts';
import { parseTenantId } from '../../src/tenancy/tenant-id.ts';
import { aConversation, aTurn } from '../support/conversation-rows.ts';
import { startOwnStorage } from '../support/own-storage.ts';
import { actingIn, expectTenantNeeded } from '../support/refusals.ts';
import { startWorld, type Caller, type World } from '../support/world.ts';

const PARKED = `query($first: Int, $after: String, $last: Int, $before: String) {
  parkedWork(first: $first, after: $after, last: $last, before: $before) {
    nodes { id kind parkedAt conversationId }
    edges { cursor node { id } }
    pageInfo { hasNextPage hasPreviousPage endCursor }
  }
}`;
const ACME = parseTenantId('acme')!;
const AT = Date.parse('2026-11-20T12:00:00.000Z');

describe('parkedWork', () => {
  let storage: Awaited<ReturnType<typeof startOwnStorage>>;
  let world: World;
  beforeAll(async () => {
    storage = await startOwnStorage();
    world = await startWorld({ config: storage.config });
  });
  afterAll(async () => {
    await world.stop();
    await storage.close();
  });

  /** A turn of acme that was put aside so many minutes after noon. */
  async function park(minutes: number) {
    const { turns } = storage.db.forTenant(ACME);
    const turn = aTurn(aConversation(ACME), { id: ulid(AT), key: ulid(AT), content: 'a secret of the user' });
    await turns.open(turn);
    await turns.park(turn, { sequence: 1, unmetered: null }, AT + minutes * 60_000);
    return turn;
  }
  /** An alert of acme whose delivery was given up so many minutes after noon. */
  async function parkAlert(minutes: number) {
    const { alerts } = storage.db.forTenant(ACME);
    const alert = {
      ...({ tenantId: ACME, id: ulid(AT), limit: 'TOKENS_PER_DAY', percentage: 80, period: '2026-11-20' } as const),
      ...{ limitTokens: 10, usedTokens: 8, at: new Date(AT).toISOString() },
      delivery: { state: 'PENDING', attempts: 0, nextAttemptAt: null, deliveredAt: null, lastError: null } as const,
    };
    await alerts.record(alert);
    const name = alertName(alert);
    const claimed = await alerts.claim(name, Date.now() + 60_000, Date.now() + 120_000);
    await alerts.close(claimed!, { state: 'PARKED', at: AT + minutes * 60_000, error: 'gone' });
    return { id: alert.id, name };
  }
  const list = async (caller: Caller, variables = {}) => {
    const { data, errors } = await caller.run(PARKED, variables);
    expect(errors).toEqual([]);
    return data.parkedWork;
  };

  it('ok: what was put aside, the last first, without a word of what was written; gone when it is retried', async () => {
    expect((await list(world.acme.admin)).nodes).toEqual([]);
    const [first, second] = [await park(1), await park(2)];
    const page = await list(world.acme.admin);
    expect(page.nodes).toEqual([
      {
        ...{ id: second.id, kind: 'TURN', parkedAt: '2026-11-20T12:02:00.000Z' },
        conversationId: second.conversationId,
      },
      { ...{ id: first.id, kind: 'TURN', parkedAt: '2026-11-20T12:01:00.000Z' }, conversationId: first.conversationId },
    ]);
    expect(JSON.stringify(page)).not.toContain('secret');
    expect((await list(world.globex.admin)).nodes).toEqual([]);
    expect((await list(actingIn(world, 'acme'))).nodes).toEqual(page.nodes);

    const one = await list(world.acme.admin, { first: 1 });
    expect(one).toMatchObject({ nodes: [{ id: second.id }], pageInfo: { hasNextPage: true, hasPreviousPage: false } });
    const rest = await list(world.acme.admin, { first: 1, after: one.pageInfo.endCursor });
    expect(rest).toMatchObject({ nodes: [{ id: first.id }], pageInfo: { hasNextPage: false } });
    expect(await list(world.acme.admin, { last: 1 })).toMatchObject({ nodes: [{ id: first.id }] });

    const { turns } = storage.db.forTenant(ACME);
    for (const { key } of [first, second]) expect(await turns.unpark(key, Date.now() + 600_000)).toBe(true);
    expect((await list(world.acme.admin)).nodes).toEqual([]);
  });

  it('ok: alerts that could not be delivered among them, page by page from either end', async () => {
    const [early, alert, late] = [await park(1), await parkAlert(2), await park(3)];
    const ids = [late.id, alert.id, early.id];
    const page = await list(world.acme.admin);
    expect(page.nodes.map(({ id }: { id: string }) => id)).toEqual(ids);
    expect(page.nodes[1]).toMatchObject({ kind: 'USAGE_ALERT', conversationId: null });
    for (const [size, ends] of [
      ['first', 'after'],
      ['last', 'before'],
    ] as const) {
      const seen: string[] = [];
      for (let cursor: string | null = null, more = true; more;) {
        const { edges, pageInfo } = await list(world.acme.admin, { [size]: 1, ...(cursor && { [ends]: cursor }) });
        seen.push(edges[0].node.id as string);
        cursor = edges[0].cursor as string;
        more = size === 'first' ? pageInfo.hasNextPage : pageInfo.hasPreviousPage;
      }
      expect(seen).toEqual(size === 'first' ? ids : ids.toReversed());
    }
    const { alerts, turns } = storage.db.forTenant(ACME);
    await alerts.unpark(alert.name, Date.now());
    for (const { key } of [early, late]) await turns.unpark(key, Date.now() + 600_000);
    expect((await list(world.acme.admin)).nodes).toEqual([]);
  });

  it('BAD_USER_INPUT for a page of 0 or 101, and for the cursor of another list', async () => {
    for (const variables of [{ first: 0 }, { first: 101 }, { after: 'x' }, { first: 1, last: 1 }]) {
      expect((await world.acme.admin.run(PARKED, variables)).code).toBe('BAD_USER_INPUT');
    }
  });

  it('FORBIDDEN for a member', async () => {
    expect(await world.acme.member.run(PARKED)).toMatchObject({ code: 'FORBIDDEN', status: 403, data: null });
  });

  it('UNAUTHENTICATED, TENANT_REQUIRED, TENANT_INVALID and FORBIDDEN for those without a tenant', () =>
    expectTenantNeeded(world, PARKED, {}));
});
