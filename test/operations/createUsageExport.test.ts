import { createHmac } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createTestClock, type TestClock } from '../support/clock.ts';
import { readCsv } from '../support/csv.ts';
import { startOwnStorage } from '../support/own-storage.ts';
import { rawHttp } from '../support/raw-http.ts';
import { actingIn, expectTenantNeeded } from '../support/refusals.ts';
import { aTurn, loadUsage } from '../support/usage-rows.ts';
import { startWorld, type Caller, type World } from '../support/world.ts';

const CREATE = `mutation($input: CreateUsageExportInput!) { createUsageExport(input: $input) { url expiresAt } }`;
const DAY_MS = 86_400_000;
const MINUTE_MS = 60_000;
const START = Date.parse('2026-11-01T00:00:00.000Z');
const PERIOD = { start: new Date(START).toISOString(), end: new Date(START + DAY_MS).toISOString() };

describe('createUsageExport', () => {
  let clock: TestClock;
  let storage: Awaited<ReturnType<typeof startOwnStorage>>;
  let world: World;
  let admin: Caller;
  beforeAll(async () => {
    clock = createTestClock();
    storage = await startOwnStorage();
    for (const tenant of ['acme', 'globex']) {
      const turns = [aTurn(START, { userId: `of ${tenant}` }), aTurn(START + 1), aTurn(START + DAY_MS)];
      await loadUsage(storage.config.storage.endpoint, tenant, turns);
    }
    world = await startWorld({ clock, config: storage.config });
  });
  afterAll(async () => {
    await world.stop();
    await storage.close();
  });
  beforeEach(async () => {
    admin = await world.signIn('acme', 'admin@acme.example');
  });

  const create = async (caller: Caller = admin, input: object = PERIOD) => {
    const { data, errors } = await caller.run(CREATE, { input });
    expect(errors).toEqual([]);
    return data.createUsageExport as { readonly url: string; readonly expiresAt: string };
  };
  /** As a browser does: the address and nothing else. */
  const follow = (path: string, headers: Readonly<Record<string, string>> = {}) =>
    rawHttp(world.url).get(path, headers);
  const direct = (parameters: Readonly<Record<string, string>>, caller: Caller = admin) =>
    follow(`/exports/usage?${new URLSearchParams(parameters).toString()}`, caller.headers);
  const linkOf = (url: string): string => new URL(url, world.url).searchParams.get('link')!;
  const at = (link: string) => `/exports/usage?${new URLSearchParams({ link }).toString()}`;

  describe('ok', () => {
    it('a path on this server that needs no credentials, and gives what its maker would get', async () => {
      const { url, expiresAt } = await create();
      expect(url).toMatch(/^\/exports\/usage\?link=[\w.-]+$/);
      expect(expiresAt).toBe(new Date(clock.now() + 5 * MINUTE_MS).toISOString());
      const answer = await follow(url);
      expect(answer.status).toBe(200);
      expect(answer.headers.get('content-type')).toBe('text/csv; charset=utf-8; header=present');
      expect(readCsv(answer.text)).toHaveLength(3);
      expect(answer.text).toContain('of acme');
      expect(answer.text).toBe((await direct(PERIOD)).text);
    });

    it('as JSONL, and as CSV where no format is named', async () => {
      const { text, headers } = await follow((await create(admin, { ...PERIOD, format: 'JSONL' })).url);
      expect(headers.get('content-type')).toBe('application/jsonl; charset=utf-8');
      expect(text).toBe((await direct({ ...PERIOD, format: 'jsonl' })).text);
      const { url } = await create(admin, { ...PERIOD, format: null });
      expect((await follow(url)).text).toBe((await direct(PERIOD)).text);
    });

    it('as often as wanted until it ends, also from the middle', async () => {
      const { url } = await create();
      const whole = (await follow(url)).text;
      const [header = [], first = []] = readCsv(whole);
      const rest = (await follow(`${url}&after=${first[header.indexOf('id')]}`)).text;
      expect(whole.endsWith(rest)).toBe(true);
      expect(readCsv(rest)).toHaveLength(1);
      await clock.advance(5 * MINUTE_MS - 1);
      expect((await follow(url)).text).toBe(whole);
    });

    it('for an operator in the tenant they act in; whatever headers come with the link, it counts alone', async () => {
      const operator = await world.signIn('platform', 'operator@platform.example');
      const { url } = await create(operator.with({ 'x-tenant-id': 'globex' }));
      const { text } = await follow(url);
      expect(text).toContain('of globex');
      expect(text).not.toContain('of acme');
      const globexAdmin = await world.signIn('globex', 'admin@globex.example');
      const ofAcme = await create(actingIn({ ...world, operator }, 'acme'));
      for (const headers of [globexAdmin.headers, { 'x-tenant-id': 'globex' }, { authorization: 'Bearer x' }]) {
        expect((await follow(ofAcme.url, headers)).text).toContain('of acme');
      }
    });

    it('says nothing of its maker but their id', async () => {
      const payload = Buffer.from(linkOf((await create()).url).split('.')[0]!, 'base64url').toString();
      expect(payload).not.toMatch(/@|Corporation/);
    });
  });

  describe('UNAUTHENTICATED', () => {
    const expectRefused = async (what: string, path: string, headers = {}) => {
      const { status, code, body } = await follow(path, headers);
      expect([what, status, code]).toEqual([what, 401, 'UNAUTHENTICATED']);
      expect(body.errors[0].message).toBe('The link is not valid, or has expired.');
    };

    it('for a link that has ended, also with good credentials beside it', async () => {
      const { url } = await create();
      await clock.advance(5 * MINUTE_MS);
      await expectRefused('ended', url);
      await expectRefused('ended', url, (await world.signIn('acme', 'admin@acme.example')).headers);
    });

    it('for a link in which any one character was changed, left out or added', async () => {
      const link = linkOf((await create()).url);
      const other = (character: string) => (character === 'A' ? 'B' : 'A');
      const forged = [...link].flatMap((character, n) => [
        link.slice(0, n) + other(character) + link.slice(n + 1),
        link.slice(0, n) + link.slice(n + 1),
      ]);
      for (const text of [...forged, `${link}A`, `${link}=`, `${link}.`, `A${link}`, '', '.', 'x'.repeat(10_000)]) {
        await expectRefused(text, at(text));
      }
    }, 20_000);

    it('for another tenant, period, format, role or end under the same signature, or one by another key', async () => {
      const [payload = '', mac = ''] = linkOf((await create()).url).split('.');
      const claims = JSON.parse(Buffer.from(payload, 'base64url').toString()) as Record<string, unknown>;
      const changes = [
        { tenantId: 'globex' },
        { own: false },
        { own: false, tenantId: 'globex', roles: ['PLATFORM_OPERATOR'] },
        { start: 0 },
        { end: START + 2 * DAY_MS },
        { format: 'JSONL' },
        { expiresAt: clock.now() + DAY_MS },
      ];
      const { cursorSecret } = storage.config.secrets;
      for (const change of changes) {
        const forged = Buffer.from(JSON.stringify({ ...claims, ...change })).toString('base64url');
        await expectRefused(JSON.stringify(change), at(`${forged}.${mac}`));
        // Not even with the secret itself: cursors are signed with it.
        const bySecret = createHmac('sha256', cursorSecret).update(forged).digest('base64url');
        await expectRefused('by the secret', at(`${forged}.${bySecret}`));
      }
    });

    it('for an access token as a link, and for a link as an access token', async () => {
      await expectRefused('an access token', at(admin.token!));
      const link = linkOf((await create()).url);
      const impostor = world.caller(link);
      expect(await direct(PERIOD, impostor)).toMatchObject({ status: 401, code: 'UNAUTHENTICATED' });
      expect(await impostor.run('{ viewer { id } }')).toMatchObject({ status: 401, code: 'UNAUTHENTICATED' });
    });

    it('for a cursor as a link, and BAD_USER_INPUT for a link as a cursor', async () => {
      await admin.createConversation();
      const list = `query($after: String) { conversations(first: 1, after: $after) { edges { cursor } } }`;
      const { data } = await admin.run(list);
      await expectRefused('a cursor', at(data.conversations.edges[0].cursor as string));
      const after = linkOf((await create()).url);
      expect((await admin.run(list, { after })).code).toBe('BAD_USER_INPUT');
    });
  });

  it('BAD_USER_INPUT for other parameters beside the link: it says what the export is', async () => {
    const { url } = await create();
    for (const more of ['start=2020-01-01T00:00:00Z', 'format=jsonl', `link=${linkOf(url)}`]) {
      expect(await follow(`${url}&${more}`)).toMatchObject({ status: 400, code: 'BAD_USER_INPUT' });
    }
  });

  it('BAD_USER_INPUT for empty, reversed and longer periods, and for what is no time or format', async () => {
    const { start, end } = PERIOD;
    const inputs = [
      { start, end: start },
      { start: end, end: start },
      { start, end: new Date(START + 400 * DAY_MS + 1).toISOString() },
      { start: 'yesterday', end },
      { start },
      { start, end, format: 'XLSX' },
    ];
    for (const input of inputs)
      expect([input, (await admin.run(CREATE, { input })).code]).toEqual([input, 'BAD_USER_INPUT']);
    await create(admin, { start, end: new Date(START + 400 * DAY_MS).toISOString() });
  });

  it('FORBIDDEN for a member, also before anything else is looked at', async () => {
    const member = await world.signIn('acme', 'member@acme.example');
    for (const input of [PERIOD, { start: PERIOD.end, end: PERIOD.start }]) {
      expect(await member.run(CREATE, { input })).toMatchObject({ code: 'FORBIDDEN', status: 403 });
    }
  });

  it('UNAUTHENTICATED, TENANT_REQUIRED, TENANT_INVALID and FORBIDDEN for those without a tenant', async () => {
    const [operator, member] = await Promise.all([
      world.signIn('platform', 'operator@platform.example'),
      world.signIn('acme', 'member@acme.example'),
    ]);
    await expectTenantNeeded({ ...world, operator, acme: { admin, member } } as World, CREATE, { input: PERIOD });
  });

  it('reads nothing of the events: a link costs no more for a long period', async () => {
    await create(); // whose credential is looked at, and whose tenant
    const requests = await world.requestsOf(() => create());
    expect(requests.filter(({ operation }) => operation !== 'GetItemCommand')).toEqual([]);
  });

  it('TENANT_SUSPENDED once the tenant is, for its own links; an operator may still read it', async () => {
    await storage.addTenant('umbrella');
    const boss = await world.signIn('umbrella', 'admin@umbrella.example');
    const operator = await world.signIn('platform', 'operator@platform.example');
    const own = await create(boss);
    const operators = await create(operator.with({ 'x-tenant-id': 'umbrella' }));
    await storage.suspend('umbrella');
    await clock.advance(31_000); // an instance may be that far behind
    expect(await follow(own.url)).toMatchObject({ status: 403, code: 'TENANT_SUSPENDED' });
    expect(await direct(PERIOD, boss)).toMatchObject({ status: 403, code: 'TENANT_SUSPENDED' });
    expect((await boss.run(CREATE, { input: PERIOD })).code).toBe('TENANT_SUSPENDED');
    expect((await follow(operators.url)).status).toBe(200);
  });
});
