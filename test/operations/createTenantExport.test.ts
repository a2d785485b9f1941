import { createHash } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createSign, macOf } from '../../src/audit/chain.ts';
import type { ChainedEntry } from '../../src/audit/model.ts';
import { ulid } from '../../src/kernel/ids.ts';
import { parseTenantId } from '../../src/tenancy/tenant-id.ts';
import { aConversation, aTurn, messagesOf } from '../support/conversation-rows.ts';
import { startOwnStorage } from '../support/own-storage.ts';
import { rawHttp } from '../support/raw-http.ts';
import { actingIn } from '../support/refusals.ts';
import { startWorld, type Caller, type World } from '../support/world.ts';

const DAY_MS = 86_400_000;
const TENANT = 'mutation { createTenantExport { url expiresAt } }';
const AUDIT = 'mutation($input: CreateAuditExportInput!) { createAuditExport(input: $input) { url } }';
const PERIOD = { start: new Date(Date.now() - DAY_MS).toISOString(), end: new Date(Date.now() + DAY_MS).toISOString() };
const LARGE = `${'漢'.repeat(20_000)}[[emulate chunks=1]]`;
const OPERATION = 'query Who { viewer { id } }';
const FOREIGN = 'What only Globex asks';

interface Line {
  readonly type: string;
  readonly data: Readonly<Record<string, unknown>>;
}

let storage: Awaited<ReturnType<typeof startOwnStorage>>;
let world: World;
let conversations: string[];
let partner: Awaited<ReturnType<World['createPartner']>>;
beforeAll(async () => {
  storage = await startOwnStorage();
  world = await startWorld({ config: storage.config });
  const { acme, globex } = world;
  const own = await acme.member.createConversation('Refunds');
  const colleagues = await acme.admin.createConversation('Empty');
  await acme.member.ask(own, LARGE);
  await acme.member.ask(own, 'And then?');
  await globex.member.ask(await globex.member.createConversation('Theirs'), FOREIGN);
  conversations = [colleagues, own];
  const invite = 'mutation($input: InviteUserInput!) { inviteUser(input: $input) { token } }';
  await acme.admin.run(invite, { input: { name: 'Ida', email: 'ida@acme.example', roles: ['MEMBER'] } });
  const webhook = 'mutation($url: String) { setUsageWebhook(url: $url) { secret } }';
  await acme.admin.run(webhook, { url: 'http://127.0.0.1:9/hook' });
  partner = await world.createPartner(acme.admin);
  const publish = `mutation($id: ID!, $body: String!) { publishOperations(operations: [{ id: $id, body: $body }]) { newCount } }`;
  await acme.admin.run(publish, { id: createHash('sha256').update(OPERATION).digest('hex'), body: OPERATION });
  await world.product.recorded();
});
afterAll(async () => {
  await world.stop();
  await storage.close();
});

const get = (path: string, caller: Caller = world.nobody) => rawHttp(world.url).get(path, caller.headers);
const parse = <T>(text: string) =>
  text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as T);
async function linkTo(query: string, field: string, caller: Caller, variables = {}): Promise<string> {
  const { data, errors } = await caller.run(query, variables);
  expect(errors).toEqual([]);
  return data[field].url as string;
}
const ofType = (lines: readonly Line[], type: string): Line['data'][] =>
  lines.filter((line) => line.type === type).map(({ data }) => data);

describe('createTenantExport', () => {
  it('ok: everything a tenant owns, one object a line, all of it, also what is large, and nothing of anybody else', async () => {
    const answer = await get('/exports/tenant', world.acme.admin);
    expect(answer.status).toBe(200);
    expect(answer.headers.get('content-type')).toBe('application/jsonl; charset=utf-8');
    expect(answer.headers.get('content-disposition')).toBe('attachment; filename="tenant-acme.jsonl"');
    const lines = parse<Line>(answer.text);
    expect([...new Set(lines.map(({ type }) => type))]).toEqual([
      ...['tenant', 'identityIssuers', 'usageAlertSettings', 'user', 'apiKey', 'operation', 'conversation', 'message'],
      ...['usageDay', 'usageEvent', 'auditEntry'],
    ]);
    expect(ofType(lines, 'tenant')).toMatchObject([
      { id: 'acme', status: 'ACTIVE', agentIds: expect.any(Array) as unknown },
    ]);
    expect(ofType(lines, 'user').map(({ email, status }) => [email, status])).toEqual([
      ['admin@acme.example', 'ACTIVE'],
      ['ida@acme.example', 'INVITED'],
      ['member@acme.example', 'ACTIVE'],
    ]);
    expect(ofType(lines, 'conversation').map(({ id, messageCount }) => [id, messageCount])).toEqual([
      [conversations[0], 0],
      [conversations[1], 4],
    ]);
    const messages = ofType(lines, 'message');
    expect(messages.map(({ sequence, role, status }) => [sequence, role, status])).toEqual([
      ...[
        [1, 'USER', 'COMPLETED'],
        [2, 'ASSISTANT', 'COMPLETED'],
        [3, 'USER', 'COMPLETED'],
        [4, 'ASSISTANT', 'COMPLETED'],
      ],
    ]);
    expect(messages[0]?.['content']).toBe(LARGE);
    expect(ofType(lines, 'usageEvent').filter(({ kind }) => kind === 'TURN')).toHaveLength(2);
    expect(ofType(lines, 'usageDay').reduce((sum, { turns }) => sum + Number(turns), 0)).toBe(2);
    expect(ofType(lines, 'auditEntry').map(({ action }) => action)).toContain('user.invite');
    expect(ofType(lines, 'operation')).toContainEqual(expect.objectContaining({ name: 'Who', body: OPERATION }));
    for (const foreign of [FOREIGN, 'globex']) expect(answer.text.toLowerCase()).not.toContain(foreign.toLowerCase());
  });

  it('holds lists of any length, each of theirs once', async () => {
    await storage.addTenant('initech');
    const stores = storage.db.forTenant(parseTenantId('initech')!);
    const many = Array.from({ length: 120 }, (_, n) =>
      aConversation(stores.audit.tenantId, { createdAt: new Date(n).toISOString() }),
    );
    await Promise.all(many.map((each) => stores.conversations.create(each)));
    const long = many[60]!;
    for (let n = 0; n < 23; n++) {
      const turn = aTurn(long, { id: ulid(n) });
      for (const message of messagesOf(long, turn, n)) await stores.messages.add(message, turn);
      await stores.conversations.lock(turn, long.createdAt);
      await stores.conversations.unlock(turn);
    }
    const lines = parse<Line>((await get('/exports/tenant', actingIn(world, 'initech'))).text);
    expect(ofType(lines, 'conversation').map(({ id }) => id)).toEqual(many.map(({ id }) => id));
    const sequences = ofType(lines, 'message').map(({ conversationId, sequence }) => [conversationId, sequence]);
    expect(sequences).toEqual(Array.from({ length: 46 }, (_, n) => [long.id, n + 1]));
  });

  it('has no secret in it, nor what could be checked against one', async () => {
    const { text } = await get('/exports/tenant', world.acme.admin);
    const rows = await storage.rows();
    const hidden = [
      'passwordHash',
      'tokenHash',
      'secretHash',
      'hash',
      'familyHash',
      'secret',
      'sealed',
      'previousHash',
    ];
    const values = rows.flatMap((row) => hidden.flatMap((name) => (typeof row[name] === 'string' ? row[name] : [])));
    expect(values.length).toBeGreaterThan(5);
    for (const value of values) expect(text.includes(value), value).toBe(false);
    for (const name of hidden) expect(text).not.toContain(`"${name}"`);
  });

  it('comes by a link for five minutes, to an administrator and an acting operator, and is recorded', async () => {
    for (const caller of [world.acme.admin, actingIn(world, 'acme')]) {
      const url = await linkTo(TENANT, 'createTenantExport', caller);
      expect(url).toMatch(/^\/exports\/tenant\?link=[\w.-]+$/);
      const answer = await get(url);
      expect([answer.status, parse<Line>(answer.text)[0]?.type]).toEqual([200, 'tenant']);
    }
    await world.product.recorded();
    const { data } = await world.acme.admin.run('{ auditLog(first: 100) { nodes { action resource result } } }');
    for (const action of ['tenant.export', 'tenant.export.download'])
      expect(data.auditLog.nodes).toContainEqual({ action, resource: 'tenant', result: 'SUCCESS' });
  });

  it('FORBIDDEN for everybody else', async () => {
    for (const caller of [world.acme.member, partner, world.operator, world.nobody]) {
      const { code } = await caller.run(TENANT);
      const direct = await get('/exports/tenant', caller);
      const expected = { [world.operator.id]: 'TENANT_REQUIRED' }[(caller as { id?: string }).id ?? ''];
      const refused = caller === world.nobody ? 'UNAUTHENTICATED' : (expected ?? 'FORBIDDEN');
      expect([code, direct.code]).toEqual([refused, refused]);
    }
  });
});

describe('createAuditExport', () => {
  const exported = async (query = '', caller: Caller = world.acme.admin) => {
    const answer = await get(`/exports/audit?${new URLSearchParams(PERIOD).toString()}${query}`, caller);
    return { ...answer, entries: answer.status === 200 ? parse<ChainedEntry>(answer.text) : [] };
  };

  it('ok: the trail, oldest first, with its chain, which verifies', async () => {
    const { entries } = await exported();
    expect(entries.length).toBeGreaterThan(5);
    expect(entries.map(({ id }) => id)).toEqual(entries.map(({ id }) => id).toSorted());
    const sign = createSign(storage.config.secrets.cursorSecret);
    let previous = '';
    for (const entry of entries) {
      if (entry.sequence === 1) previous = ''; // a day of its own
      expect(entry).toMatchObject({ tenantId: 'acme', previous, mac: macOf(sign, entry) });
      previous = entry.mac;
    }
  });

  it('goes on behind any entry, and holds what its period holds', async () => {
    const { entries } = await exported();
    const third = entries[2]!;
    const rest = await exported(`&after=${third.id}`);
    expect(rest.entries.slice(0, entries.length - 3)).toEqual(entries.slice(3));
    const span = { start: third.at, end: new Date(Date.parse(third.at) + 1).toISOString() };
    const one = await get(`/exports/audit?${new URLSearchParams(span).toString()}`, world.acme.admin);
    expect(parse<ChainedEntry>(one.text)).toEqual(entries.filter(({ at }) => at === third.at));
    for (const after of ['x', '01ARZ3NDEKTSV4RRFFQ69G5FAV'])
      expect((await exported(`&after=${after}`)).code).toBe('BAD_USER_INPUT');
  });

  it('comes by a link, to administrators and acting operators; a link is for its own kind of export', async () => {
    const url = await linkTo(AUDIT, 'createAuditExport', world.acme.admin, { input: PERIOD });
    expect((await get(url)).headers.get('content-disposition')).toMatch(
      /filename="audit-acme-\d+T\d+Z-\d+T\d+Z\.jsonl"/,
    );
    for (const kind of ['usage', 'tenant'])
      expect((await get(url.replace('/audit?', `/${kind}?`))).code).toBe('UNAUTHENTICATED');
    expect((await exported('', actingIn(world, 'acme'))).status).toBe(200);
    for (const caller of [world.acme.member, partner]) {
      expect((await caller.run(AUDIT, { input: PERIOD })).code).toBe('FORBIDDEN');
      expect((await exported('', caller)).code).toBe('FORBIDDEN');
    }
    const wrong = { start: PERIOD.end, end: PERIOD.start };
    expect((await world.acme.admin.run(AUDIT, { input: wrong })).code).toBe('BAD_USER_INPUT');
  });
});
