import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createTestClock, settle } from '../support/clock.ts';
import { startWorld, testConfig, type World } from '../support/world.ts';

const PER_MINUTE = 60;
const TIMEOUT_MS = 5_000;
const { operationLimits } = testConfig();
const clock = createTestClock(Date.now());
/** Called before DynamoDB is asked for anything. */
let onRequest: () => void = () => {};

let world: World;
beforeAll(async () => {
  world = await startWorld({
    clock,
    config: {
      operationLimits: {
        ...operationLimits,
        pointsPerMinute: PER_MINUTE,
        timeoutMs: TIMEOUT_MS,
      },
    },
  });
  const { requests } = world;
  const push = requests.push.bind(requests);
  requests.push = (...added) => {
    if (added.some(({ phase }) => phase === 'sent')) onRequest();
    return push(...added);
  };
});
afterAll(() => world.stop());

const QUERY = '{ agents { id } }'; // 1 + the root + 10 agents

describe('the points of a tenant', () => {
  it('are charged by cost, said in every answer, and come back with time', async () => {
    const { acme } = world;
    const first = await acme.member.run('{ tenant { id } }');
    expect(first.errors).toEqual([]);
    const cost = async () => {
      const response = await fetch(`${world.url}/graphql`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...acme.member.headers },
        body: JSON.stringify({ query: QUERY }),
      });
      return ((await response.json()) as { extensions: { cost: object } }).extensions.cost;
    };
    expect(await cost()).toMatchObject({ points: 12, ceiling: 5_000, budget: { limit: PER_MINUTE, remaining: 45 } });
    for (let n = 0; n < 3; n++) expect(await cost()).toMatchObject({ budget: { remaining: 33 - 12 * n } });
    const refused = await acme.member.run(QUERY);
    expect(refused).toMatchObject({ status: 429, code: 'RATE_LIMITED' });
    expect(refused.errors[0]?.extensions).toMatchObject({ limit: PER_MINUTE, remaining: 9, retryAfterMs: 3_000 });
    await clock.advance(3_000);
    expect((await acme.member.run(QUERY)).errors).toEqual([]);
  });

  it('that others have used up are not those of the administrator, nor of another tenant', async () => {
    for (let n = 0; n < 5; n++) await world.acme.member.run(QUERY);
    expect((await world.acme.member.run(QUERY)).code).toBe('RATE_LIMITED');
    expect((await world.acme.admin.run(QUERY)).errors).toEqual([]);
    expect((await world.globex.member.run(QUERY)).errors).toEqual([]);
  });

  it('are no shield: an administrator can always revoke a key that floods', async () => {
    await clock.advance(60_000);
    const { admin } = world.acme;
    const create = 'mutation($i: CreateApiKeyInput!) { createApiKey(input: $i) { apiKey { id } secret } }';
    const { data } = await admin.run(create, { i: { name: 'Flood', scopes: ['READ'] } });
    const partner = world.caller(null, { 'x-api-key': data.createApiKey.secret });
    const flood = await Promise.all(Array.from({ length: 20 }, () => partner.run(QUERY)));
    expect(flood.filter(({ code }) => code === undefined)).toHaveLength(5);
    expect(flood.filter(({ code }) => code === 'RATE_LIMITED')).toHaveLength(15);
    const revoke = 'mutation($id: ID!) { revokeApiKey(id: $id) { apiKey { revokedAt } } }';
    expect((await admin.run(revoke, { id: data.createApiKey.apiKey.id })).errors).toEqual([]);
    expect((await partner.run(QUERY)).code).toBe('UNAUTHENTICATED');
  });
});

it('an operation whose time is over reads nothing more, and says so', async () => {
  await clock.advance(60_000);
  await world.acme.admin.run('{ tenant { id } }'); // so that who asks is known, and what follows is read for the operation
  const before = world.requests.length;
  let sent = 0;
  onRequest = () => {
    sent++;
    if (sent === 1) void clock.advance(TIMEOUT_MS);
  };
  const { status, code, errors } = await world.acme.admin.run(
    '{ conversations(first: 5) { nodes { id owner { id } lastMessage { id } } } }',
  );
  onRequest = () => {};
  expect({ status, code }).toEqual({ status: 504, code: 'TIMEOUT' });
  expect(errors[0]?.extensions).toMatchObject({ limitMs: TIMEOUT_MS });
  await settle(50);
  expect(world.requests.slice(before).filter(({ phase }) => phase === 'sent')).toHaveLength(1);
  expect((await world.acme.admin.run('{ tenant { id } }')).errors).toEqual([]);
});
