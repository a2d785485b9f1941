import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createSign } from '../../src/audit/chain.ts';
import { verifyTrail } from '../../src/audit/verifying.ts';
import { PLATFORM, parseTenantId } from '../../src/tenancy/tenant-id.ts';
import { trailOf } from '../support/audit.ts';
import { createTestClock, type TestClock } from '../support/clock.ts';
import { startOwnStorage } from '../support/own-storage.ts';
import { startWorld, type Caller, type World } from '../support/world.ts';

const LOG = `query($filter: AuditFilter, $first: Int, $after: String) {
  auditLog(filter: $filter, first: $first, after: $after) {
    nodes { id at actorId action resource result ipAddress userAgent requestId details }
    edges { cursor }
    pageInfo { hasNextPage endCursor }
  }
}`;
const ACME = parseTenantId('acme')!;
/** What somebody wrote, or keeps secret: none of it may be found in the trail. */
const MARKERS = ['MARK-TITLE', 'MARK-RENAMED', 'MARK-CONTENT', 'MARK-PASSWORD', 'MARK-EMAIL', 'MARK-TOKEN', 'MARK-ID'];

interface Entry {
  readonly actorId: string | null;
  readonly action: string;
  readonly resource: string;
  readonly result: string;
  readonly ipAddress: string | null;
  readonly details: Readonly<Record<string, unknown>>;
}

let storage: Awaited<ReturnType<typeof startOwnStorage>>;
let clock: TestClock;
let world: World;
let conversationId: string;
beforeAll(async () => {
  storage = await startOwnStorage();
  clock = createTestClock();
  world = await startWorld({ clock, config: storage.config });
  conversationId = await theDay();
});
afterAll(async () => {
  await world.stop();
  await storage.close();
});

/** A day in acme, one thing after the other. */
async function theDay(): Promise<string> {
  const { member } = world.acme;
  const { nobody, operator } = world;
  const id = await member.createConversation('MARK-TITLE');
  await member.ask(id, 'MARK-CONTENT');
  await change(member, 'renameConversation', 'RenameConversationInput', {
    conversationId: id,
    title: 'MARK-RENAMED',
    expectedVersion: 99,
  });
  await operator.with({ 'x-tenant-id': 'acme' }).run('{ conversations { nodes { id } } }');
  await member.run('{ usageSummary(start: "2026-01-01T00:00:00Z", end: "2026-01-02T00:00:00Z") { __typename } }');
  const signIn = { tenant: 'acme', email: 'MARK-EMAIL@acme.example', password: 'MARK-PASSWORD' };
  await change(nobody, 'signIn', 'SignInInput', signIn, 'accessToken');
  await change(nobody, 'signIn', 'SignInInput', { ...signIn, tenant: 'nobody-has-it' }, 'accessToken');
  await nobody.run('mutation { refreshSession(refreshToken: "rt.acme.MARK-TOKEN") { accessToken } }');
  await world.caller('MARK-TOKEN').run('{ tenant { id } }');
  await change(member, 'deleteConversation', 'DeleteConversationInput', { conversationId: 'MARK-ID#MARK-ID' });
  await change(member, 'deleteConversation', 'DeleteConversationInput', { conversationId: id });
  await world.product.recorded();
  return id;
}

const change = (by: Caller, field: string, type: string, input: object, selection = '__typename') =>
  by.run(`mutation($input: ${type}!) { ${field}(input: $input) { ${selection} } }`, { input });

async function read(by: Caller, variables: Record<string, unknown> = {}) {
  const { data, code } = await by.run(LOG, { first: 100, ...variables });
  expect(code).toBeUndefined();
  return (
    data as {
      auditLog: {
        nodes: Entry[];
        edges: { cursor: string }[];
        pageInfo: { hasNextPage: boolean; endCursor: string | null };
      };
    }
  ).auditLog;
}
const brief = ({ action, resource, result, details }: Entry) => [action, resource, result, details['code'] ?? null];

describe('the trail of a day', () => {
  it('is complete, and newest first', async () => {
    const { nodes } = await read(world.acme.admin);
    const conversation = `conversation/${conversationId}`;
    expect(nodes.toReversed().slice(2).map(brief)).toEqual([
      ['conversation.create', conversation, 'SUCCESS', null],
      ['message.send', conversation, 'SUCCESS', null],
      ['conversation.rename', conversation, 'FAILURE', 'CONFLICT'],
      ['query.conversations', 'tenant', 'SUCCESS', null],
      ['query.usageSummary', 'tenant', 'FAILURE', 'FORBIDDEN'],
      ['session.signIn', 'session', 'FAILURE', 'UNAUTHENTICATED'],
      ['session.refresh', 'session', 'FAILURE', 'UNAUTHENTICATED'],
      ['conversation.delete', 'conversation', 'FAILURE', 'NOT_FOUND'],
      ['conversation.delete', conversation, 'SUCCESS', null],
    ]);
  });

  it('says who, from where, and whether it was an operator', async () => {
    const { nodes } = await read(world.acme.admin, { filter: { actorId: world.operator.id } });
    expect(nodes).toMatchObject([{ actorId: world.operator.id, ipAddress: '127.0.0.1', details: { operator: true } }]);
    const failed = await read(world.acme.admin, { filter: { action: 'session.signIn', result: 'FAILURE' } });
    expect(failed.nodes).toMatchObject([{ actorId: null, ipAddress: '127.0.0.1' }]);
  });

  it('verifies', async () => {
    const sign = createSign(storage.config.secrets.cursorSecret);
    const span = { from: '20261120', to: '20261120', nowMs: clock.now() };
    const { entries, faults } = await verifyTrail(storage.db.audit.of(ACME), sign, span);
    expect({ entries, faults }).toEqual({ entries: 11, faults: [] });
  });

  it('is the platform’s where no tenant can be told', async () => {
    const entries = await trailOf(storage.db.audit, PLATFORM);
    expect(entries.slice(1).map(({ action, details }) => [action, details['code']])).toEqual([
      ['session.signIn', 'UNAUTHENTICATED'],
      ['query.tenant', 'UNAUTHENTICATED'],
    ]);
  });

  it('holds nothing that somebody wrote or keeps secret', async () => {
    const trails = await Promise.all([ACME, PLATFORM].map((tenantId) => trailOf(storage.db.audit, tenantId)));
    const text = JSON.stringify(trails);
    expect(MARKERS.filter((marker) => text.toLowerCase().includes(marker.toLowerCase()))).toEqual([]);
  });
});

describe('auditLog', () => {
  it('are filtered, in any part, and go on where they ended', async () => {
    const { admin } = world.acme;
    const all = (await read(admin)).nodes;
    const paged: Entry[] = [];
    let after: string | null = null;
    do {
      const page = await read(admin, { first: 2, after });
      paged.push(...page.nodes);
      after = page.pageInfo.hasNextPage ? page.pageInfo.endCursor : null;
    } while (after !== null);
    expect(paged).toEqual(all);
    const resource = `conversation/${conversationId}`;
    expect((await read(admin, { filter: { resource } })).nodes).toEqual(
      all.filter((entry) => entry.resource === resource),
    );
    const to = '2026-11-20T00:00:00Z';
    expect((await read(admin, { filter: { to } })).nodes).toEqual([]);
  });

  it('of a year without entries cost two requests, and of a rare filter no more than eleven', async () => {
    const count = async (filter: object) => {
      const before = world.auditRequests.length;
      await read(world.acme.admin, { filter });
      return world.auditRequests.slice(before).filter(({ phase }) => phase === 'sent').length;
    };
    expect(await count({ from: '2020-01-01T00:00:00Z', to: '2021-01-01T00:00:00Z' })).toBe(1);
    expect(await count({ action: 'nothing.happened' })).toBeLessThanOrEqual(11);
  });

  it('BAD_USER_INPUT for a cursor of another tenant, an altered one, and an empty period', async () => {
    const { edges } = await read(world.acme.admin);
    const after = edges[0]!.cursor;
    expect((await world.globex.admin.run(LOG, { after })).code).toBe('BAD_USER_INPUT');
    expect((await world.acme.admin.run(LOG, { after: `${after}x` })).code).toBe('BAD_USER_INPUT');
    const filter = { from: '2026-11-20T00:00:00Z', to: '2026-11-20T00:00:00Z' };
    expect((await world.acme.admin.run(LOG, { filter })).code).toBe('BAD_USER_INPUT');
  });
});

it('FORBIDDEN for a member; an operator reads it in the tenant they act in', async () => {
  expect((await world.acme.member.run(LOG)).code).toBe('FORBIDDEN');
  const entries = await read(world.operator.with({ 'x-tenant-id': 'globex' }));
  expect(entries.nodes.map(({ action }) => action)).not.toContain('conversation.create');
});

it('an answer waits for none of it: of an operation’s requests none is to the trail before it is answered', async () => {
  const sent = () => world.auditRequests.filter(({ phase }) => phase === 'sent').length;
  const before = sent();
  const requests = await world.requestsOf(() => world.acme.member.createConversation());
  await world.product.recorded();
  expect(requests.filter(({ table }) => table.endsWith('audit'))).toEqual([]);
  expect(sent() - before).toBe(1); // the entry itself
});

describe('what somebody sends to prove who they are', () => {
  const SIGN_OUT = 'mutation($token: String!) { signOut(refreshToken: $token) }';
  const since = async (tenantId: typeof ACME, before: number) => {
    await world.product.recorded();
    return (await trailOf(storage.db.audit, tenantId)).slice(before);
  };

  it('is recorded in the tenant it names, whoever else they are, and wherever else they go with the same request', async () => {
    const before = (await since(ACME, 0)).length;
    const query = `mutation($signIn: SignInInput!, $new: CreateConversationInput!) {
      createConversation(input: $new) { conversation { id } }
      signIn(input: $signIn) { accessToken }
    }`;
    const signIn = { tenant: 'acme', email: 'admin@acme.example', password: 'not what it is' };
    await world.globex.member.run(query, { signIn, new: { title: 'Ours' } });
    expect((await since(ACME, before)).map((entry) => [entry.actorId, ...brief(entry)])).toEqual([
      [null, 'session.signIn', 'session', 'FAILURE', 'UNAUTHENTICATED'],
    ]);
  });

  it('says who signed out, by the token that they had', async () => {
    const { id, refreshToken } = await world.signIn('acme', 'member@acme.example');
    const before = (await since(ACME, 0)).length;
    await world.globex.member.run(SIGN_OUT, { token: refreshToken });
    expect((await since(ACME, before)).map((entry) => [entry.actorId, ...brief(entry)])).toEqual([
      [id, 'session.signOut', 'session', 'SUCCESS', null],
    ]);
  });

  it('and proves nothing is a failure: a flood of it fills no trail', async () => {
    const before = (await since(ACME, 0)).length;
    const fields = Array.from({ length: 50 }, (_, n) => `f${n}: signOut(refreshToken: $token)`);
    await world.nobody.run(`mutation($token: String!) { ${fields.join(' ')} }`, { token: 'rt.acme.nothing' });
    const entries = await since(ACME, before);
    expect(entries.length).toBeLessThanOrEqual(20);
    expect(new Set(entries.map((entry) => JSON.stringify(brief(entry))))).toEqual(
      new Set([JSON.stringify(['session.signOut', 'session', 'FAILURE', 'UNAUTHENTICATED'])]),
    );
  });
});
