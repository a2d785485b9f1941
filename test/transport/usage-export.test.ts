import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ulid } from '../../src/kernel/ids.ts';
import { parseTenantId } from '../../src/tenancy/tenant-id.ts';
import type { UsageEvent } from '../../src/usage/model.ts';
import { collect } from '../support/collect.ts';
import { readCsv } from '../support/csv.ts';
import { exportPath } from '../support/download.ts';
import { startOwnStorage } from '../support/own-storage.ts';
import { rawHttp } from '../support/raw-http.ts';
import { aTurn, loadUsage, rowId } from '../support/usage-rows.ts';
import { startWorld, type Caller, type World } from '../support/world.ts';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const START = Date.parse('2025-11-20T22:30:00.000Z');
const END = START + 30 * HOUR_MS;
const PERIOD = { start: new Date(START).toISOString(), end: new Date(END).toISOString() };

const HEADER = [
  ...['id', 'kind', 'time', 'turnId', 'userId', 'conversationId', 'agentId', 'aliasId', 'modelId', 'first', 'status'],
  ...[
    'errorCode',
    'attempts',
    'inputTokens',
    'outputTokens',
    'estimatedTokens',
    'latencyMs',
    'firstTextMs',
    'traces',
    'priceVersion',
    'sessionId',
    'signInId',
    'identityProvider',
    'requestIds',
    'traceIds',
  ],
  ...['memoryCalls', 'memoryFailures', 'memoryLatenciesMs', 'memoryTargets'],
  ...['knowledgeBaseCalls', 'knowledgeBaseFailures', 'knowledgeBaseLatenciesMs', 'knowledgeBaseTargets'],
  ...['actionGroupCalls', 'actionGroupFailures', 'actionGroupLatenciesMs', 'actionGroupTargets', 'models'],
];

/** What spreadsheets run, what breaks a careless writer of CSV, and what only looks like either. */
const HOSTILE = [
  `=cmd|' /C calc'!A0`,
  '+1+1',
  '-2+3',
  '@SUM(A1)',
  '\t=1+1',
  '\r\n=1+1',
  '\n=1+1',
  '＝1+1',
  `'=1`,
  `''`,
  '"',
  '""quoted"", twice',
  'a,b',
  'a\r\nb',
  'a\nb\rc',
  ' leading and trailing ',
  'Ünïcödé 漢字 🧨 \u2028',
  '-',
];

const lateOf = (turn: UsageEvent): UsageEvent => ({
  ...{ kind: 'LATE_TOKENS', turnId: rowId(turn), userId: 'user-1', agentId: 'support', models: [], priceVersion: null },
  ...{ inputTokens: -3, outputTokens: 1_234_567_890_123, estimatedTokens: -0.5 },
});
const signIn = (atMs: number): UsageEvent => ({
  kind: 'SIGN_IN',
  id: ulid(atMs),
  userId: 'user-2',
  identityProvider: 'PASSWORD',
  latencyMs: 41.25,
});

const plain = [START, START + 1, START + HOUR_MS, START + HOUR_MS, END - 1].map((at) => aTurn(at));
const EVENTS: readonly UsageEvent[] = [
  ...plain,
  lateOf(plain[0]!),
  lateOf(plain[2]!),
  aTurn(START + 2, { modelId: null, aliasId: null, firstTextMs: null, first: false, errorCode: 'INTERNAL' }),
  signIn(START + 5 * HOUR_MS),
  signIn(END - DAY_MS),
  ...HOSTILE.flatMap((text, n) => [
    aTurn(START + 7 * HOUR_MS + n, { modelId: text }),
    aTurn(START + 9 * HOUR_MS + n, { userId: text, agentId: text, conversationId: text }),
  ]),
];
const OUTSIDE = [START - 1, START - HOUR_MS, END, END + HOUR_MS].map((at) => aTurn(at));

/** An event as its row of cells, worked out apart from the product. */
function cellsOf(event: UsageEvent): Record<string, string> {
  const { memory, knowledgeBase, actionGroup, ...rest } = event as Extract<UsageEvent, { kind: 'TURN' }>;
  const services = Object.entries({ memory, knowledgeBase, actionGroup }).flatMap(([name, calls]) =>
    calls === undefined
      ? []
      : [
          [`${name}Calls`, calls.calls],
          [`${name}Failures`, calls.failures],
          [`${name}LatenciesMs`, calls.latenciesMs.join(' ')],
          [`${name}Targets`, calls.targets],
        ],
  );
  const all = { ...rest, ...Object.fromEntries(services), id: rowId(event), time: timeOf(event) } as object;
  return Object.fromEntries(
    Object.entries(all).map(([name, value]) => {
      if (!Array.isArray(value)) return [name, String(value ?? '')];
      return [name, name.endsWith('Ids') ? value.join(' ') : JSON.stringify(value)];
    }),
  );
}
const timeOf = (event: UsageEvent): string => {
  const digits = [...rowId(event).slice(0, 10)].map((c) => '0123456789ABCDEFGHJKMNPQRSTVWXYZ'.indexOf(c));
  return new Date(digits.reduce((sum, digit) => sum * 32 + digit, 0)).toISOString();
};
const inOrder = (events: readonly UsageEvent[]) => events.toSorted((a, b) => (rowId(a) < rowId(b) ? -1 : 1));

let storage: Awaited<ReturnType<typeof startOwnStorage>>;
let world: World;
beforeAll(async () => {
  storage = await startOwnStorage();
  const { endpoint } = storage.config.storage;
  await loadUsage(endpoint, 'acme', [...EVENTS, ...OUTSIDE]);
  await loadUsage(endpoint, 'globex', [aTurn(START, { userId: 'of globex' }), aTurn(START + 8 * HOUR_MS)]);
  world = await startWorld({ config: storage.config });
});
afterAll(async () => {
  await world.stop();
  await storage.close();
});

const get = (parameters: Readonly<Record<string, string>>, caller: Caller = world.acme.admin) =>
  rawHttp(world.url).get(exportPath(parameters), caller.headers);
/** An export that must be answered. */
async function text(parameters: Readonly<Record<string, string>>, caller?: Caller): Promise<string> {
  const answer = await get({ ...PERIOD, ...parameters }, caller);
  expect(answer.status).toBe(200);
  return answer.text;
}
const linesOf = (jsonl: string) => {
  expect(jsonl === '' || jsonl.endsWith('\n')).toBe(true);
  return jsonl
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line) as Record<string, unknown>);
};
/** The rows of a CSV export by column, as they were before the apostrophes. */
const rowsOf = (csv: string) => {
  const [header = [], ...rows] = readCsv(csv);
  return rows.map((cells) => Object.fromEntries(cells.map((cell, n) => [header[n], cell.replace(/^'/, '')])));
};

describe('CSV', () => {
  it('holds every event of the period, every field of it, in order of time, exactly', async () => {
    const csv = await text({ format: 'csv' });
    expect(readCsv(csv)[0]).toEqual(HEADER);
    const empty = Object.fromEntries(HEADER.map((name) => [name, '']));
    expect(rowsOf(csv)).toEqual(inOrder(EVENTS).map((event) => ({ ...empty, ...cellsOf(event) })));
    const times = rowsOf(csv).map((row) => row['time']!);
    expect(times).toEqual(times.toSorted());
  });

  it('is what the store holds', async () => {
    const stored = await collect(storage.db.forTenant(parseTenantId('acme')!).usage.events(START, END));
    expect(stored.length).toBe(EVENTS.length);
    expect(inOrder(stored)).toEqual(inOrder(EVENTS));
  });

  it('has no cell that a spreadsheet would run, unless it is a number', async () => {
    const cells = readCsv(await text({})).flat();
    const dangerous = cells.filter((cell) => /^[=+\-@\t\r\n＝＋－＠]/.test(cell));
    expect(new Set(dangerous)).toEqual(new Set(['-3', '-0.5']));
    expect(cells.filter((cell) => cell.startsWith("'=cmd|")).length).toBe(4);
  });

  it('comes as a file that nobody keeps or guesses the type of', async () => {
    const { headers } = await get({ ...PERIOD });
    expect(Object.fromEntries(headers)).toMatchObject({
      'content-type': 'text/csv; charset=utf-8; header=present',
      'content-disposition': 'attachment; filename="usage-acme-20251120T223000000Z-20251122T043000000Z.csv"',
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
      'x-request-id': expect.stringMatching(/^[\w-]{36}$/) as string,
    });
  });

  it('is the header alone where nothing was used', async () => {
    const empty = { start: '2020-01-01T00:00:00Z', end: '2020-01-02T00:00:00Z' };
    expect(readCsv(await text({ ...empty }))).toEqual([HEADER]);
    expect(await text({ ...empty, format: 'jsonl' })).toBe('');
    for (const year of ['0001', '1969', '9999']) {
      const period = { start: `${year}-01-01T00:00:00Z`, end: `${year}-12-31T00:00:00Z` };
      expect(readCsv(await text(period))).toEqual([HEADER]);
    }
  });
});

describe('JSONL', () => {
  it('holds every event as the store holds it, with its id and time, one a line', async () => {
    const lines = linesOf(await text({ format: 'jsonl' }));
    expect(lines).toEqual(inOrder(EVENTS).map((event) => ({ ...event, id: rowId(event), time: timeOf(event) })));
  });

  it('comes as a file of its type', async () => {
    const { headers } = await get({ ...PERIOD, format: 'jsonl' });
    expect(headers.get('content-type')).toBe('application/jsonl; charset=utf-8');
    expect(headers.get('content-disposition')).toMatch(/\.jsonl"$/);
  });
});

describe('a period', () => {
  it('is half-open to the millisecond, and its parts make the whole', async () => {
    const cuts = [START, START + 1, START + 2, START + HOUR_MS, START + HOUR_MS + 1, START + 7 * HOUR_MS + 3, END];
    const parts: string[] = [];
    for (const [n, end] of cuts.entries()) {
      if (n === 0) continue;
      const period = { start: new Date(cuts[n - 1]!).toISOString(), end: new Date(end).toISOString() };
      parts.push(await text({ ...period, format: 'jsonl' }));
    }
    expect(parts.join('')).toBe(await text({ format: 'jsonl' }));
  });

  it('may be given in any zone', async () => {
    const start = PERIOD.start.replace('22:30:00.000Z', '23:30:00+01:00');
    expect(start).not.toBe(PERIOD.start);
    expect(await text({ start })).toBe(await text({}));
  });
});

describe('resuming', () => {
  it.each(['csv', 'jsonl'])('behind any row of %s gives the rest, and both together the whole', async (format) => {
    const whole = await text({ format });
    const ids = inOrder(EVENTS).map(rowId);
    const header = format === 'csv' ? whole.slice(0, whole.indexOf('\r\n') + 2) : '';
    const rests = await Promise.all(ids.map((after) => text({ format, after })));
    rests.forEach((rest, n) => {
      expect(whole.endsWith(rest)).toBe(true);
      const before = whole.slice(0, whole.length - rest.length);
      const had = format === 'csv' ? rowsOf(before).map(({ id }) => id) : linesOf(before).map(({ id }) => id);
      expect(had).toEqual(ids.slice(0, n + 1));
      expect(header === '' || !rest.includes(header)).toBe(true);
    });
    expect(rests.at(-1)).toBe('');
  });

  it('says that no header comes again', async () => {
    const { headers } = await get({ ...PERIOD, after: rowId(plain[0]!) });
    expect(headers.get('content-type')).toBe('text/csv; charset=utf-8; header=absent');
  });

  it('reads nothing of the hours before', async () => {
    const after = rowId(inOrder(EVENTS).at(-2)!);
    const requests = await world.requestsOf(() => text({ after }));
    const queries = requests.filter(({ operation, phase }) => operation === 'QueryCommand' && phase === 'sent');
    expect(queries.length).toBeLessThanOrEqual(3); // the marks, the hour of the row, and the last
    expect(queries.length).toBeGreaterThanOrEqual(2);
  });

  it('BAD_USER_INPUT behind what is no row of the period', async () => {
    const ids = ['', 'x', rowId(OUTSIDE[0]!), rowId(OUTSIDE[2]!), rowId(plain[0]!).toLowerCase(), `${ulid(START)}#adj`];
    for (const after of ids) {
      expect([after, await get({ ...PERIOD, after })]).toMatchObject([after, { status: 400, code: 'BAD_USER_INPUT' }]);
    }
  });
});

describe('who may', () => {
  it('an operator who acts in the tenant gets what its admin gets', async () => {
    expect(await text({}, world.operator.with({ 'x-tenant-id': 'acme' }))).toBe(await text({}));
  });

  it('another tenant gets its own events and no others, also behind a row that is not its own', async () => {
    const rows = rowsOf(await text({}, world.globex.admin));
    expect(rows.map(({ time }) => time)).toEqual([START, START + 8 * HOUR_MS].map((at) => new Date(at).toISOString()));
    expect(rows[0]!['userId']).toBe('of globex');
    const own = new Set(rows.map(({ id }) => id));
    expect(EVENTS.some((event) => own.has(rowId(event)))).toBe(false);
    const rest = linesOf(await text({ format: 'jsonl', after: rowId(plain[1]!) }, world.globex.admin));
    expect(rest.every(({ id }) => own.has(String(id)))).toBe(true);
  });

  it('nobody else: the codes and statuses of /graphql, in the shape of its errors', async () => {
    const { acme, operator, nobody } = world;
    const cases: [string, Caller, string, number][] = [
      ['nobody', nobody, 'UNAUTHENTICATED', 401],
      ['a broken token', world.caller('not.a.token'), 'UNAUTHENTICATED', 401],
      ['a member', acme.member, 'FORBIDDEN', 403],
      ['a member who names another tenant', acme.member.with({ 'x-tenant-id': 'globex' }), 'FORBIDDEN', 403],
      ['an admin who names another tenant', acme.admin.with({ 'x-tenant-id': 'globex' }), 'FORBIDDEN', 403],
      ['an admin who names none that exists', acme.admin.with({ 'x-tenant-id': 'hooli' }), 'FORBIDDEN', 403],
      ['an operator who names no tenant', operator, 'TENANT_REQUIRED', 400],
      ['an operator who names none that exists', operator.with({ 'x-tenant-id': 'hooli' }), 'TENANT_INVALID', 403],
      ['an operator who names the platform', operator.with({ 'x-tenant-id': 'platform' }), 'TENANT_INVALID', 403],
    ];
    for (const [who, caller, code, status] of cases) {
      const answer = await get(PERIOD, caller);
      expect([who, answer.status, answer.code]).toEqual([who, status, code]);
      expect(answer.body).toEqual({ errors: [{ message: expect.any(String) as string, extensions: { code } }] });
      expect(answer.headers.get('content-type')).toMatch(/^application\/json/);
      expect(answer.headers.get('content-disposition')).toBeNull();
      expect(answer.headers.get('cache-control')).toBe('no-store');
    }
  });

  it('RATE_LIMITED with Retry-After: a download is a request like any other', async () => {
    await storage.addTenant('initech', { requestsPerMinute: 2 });
    const admin = await world.signIn('initech', 'admin@initech.example');
    expect(await text({}, admin)).toBe(`${HEADER.join(',')}\r\n`);
    await text({}, admin);
    const refused = await get(PERIOD, admin);
    expect(refused).toMatchObject({ status: 429, code: 'RATE_LIMITED' });
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
  });
});

describe('BAD_USER_INPUT', () => {
  const { start, end } = PERIOD;
  const long = new Date(START + 400 * DAY_MS + 1).toISOString();
  it.each([
    ['no start', { end }, 'start'],
    ['no end', { start }, 'end'],
    ['no time', { start: 'yesterday', end }, 'start'],
    ['a date', { start, end: '2026-01-01' }, 'end'],
    ['an empty period', { start, end: start }, 'end'],
    ['a reversed one', { start: end, end: start }, 'end'],
    ['one over 400 days', { start, end: long }, 'end'],
    ['another format', { start, end, format: 'xlsx' }, 'format'],
    ['a format in capitals', { start, end, format: 'CSV' }, 'format'],
    ['a format of every object', { start, end, format: 'toString' }, 'format'],
    ['a misspelt parameter', { start, end, afetr: 'x' }, 'afetr'],
  ])('for %s', async (_what, parameters, field) => {
    const answer = await get(parameters);
    expect(answer).toMatchObject({ status: 400, code: 'BAD_USER_INPUT' });
    expect(answer.body.errors[0].extensions.field).toBe(field);
  });

  it('for a parameter that is said twice', async () => {
    const { headers } = world.acme.admin;
    const answer = await rawHttp(world.url).get(`${exportPath({ start, end })}&end=2026-01-01T00:00:00Z`, headers);
    expect(answer).toMatchObject({ status: 400, code: 'BAD_USER_INPUT' });
  });
});

it('is there for GET alone: a HEAD would read everything for nothing', async () => {
  const { headers } = world.acme.admin;
  for (const method of ['HEAD', 'POST']) {
    expect((await rawHttp(world.url).send({ method, path: exportPath(PERIOD), headers })).status).toBe(404);
  }
});
