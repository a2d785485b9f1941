import { join } from 'node:path';
import { buildSchema } from 'graphql';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readManifest } from '../../src/manifest/manifest.ts';
import type { StoredApiKey } from '../../src/partners/model.ts';
import { operationIdOf, OPERATIONS_MAX } from '../../src/partners/operation-id.ts';
import { createOperationService } from '../../src/partners/publishing.ts';
import { createOperationGate, INDEX_CACHE_MS } from '../../src/partners/running.ts';
import { createPublishedCheck } from '../../src/server/operations/published-check.ts';
import { readTypeDefs } from '../../src/server/schema.ts';
import type { Principal } from '../../src/tenancy/principal.ts';
import { principalOf } from '../support/bound-api.ts';
import { createTestClock } from '../support/clock.ts';
import { openEmbeddedStorage, type Storage } from '../support/dynamodb-storage.ts';

let storage: Storage;
beforeAll(async () => {
  storage = await openEmbeddedStorage();
});
afterAll(() => storage.close());

const check = createPublishedCheck(buildSchema(readTypeDefs().join('\n')), 5_000);
const of = (body: string) => ({ id: operationIdOf(body), body });
const agents = (name: string) => of(`query ${name} { agents { id name } }`);
const many = (count: number) => Array.from({ length: count }, (_, n) => agents(`Agents${n}`));
const ids = (operations: readonly { readonly id: string }[]) => operations.map(({ id }) => id);

/** A tenant's administration of its operations, and instances that run them. */
function open() {
  const clock = createTestClock(Date.now());
  const tenantId = storage.tenant();
  const requests: string[] = [];
  const db = storage.connect({
    clock,
    onRequest: ({ operation, phase }) => void (phase === 'sent' && requests.push(operation)),
  });
  const store = db.forTenant(tenantId).operations;
  const key = { operationIds: null as readonly string[] | null, enforcement: 'ENFORCE' as StoredApiKey['enforcement'] };
  const instance = () =>
    createOperationGate({
      storeOf: (home) => db.forTenant(home).operations,
      keyOf: () => Promise.resolve(key as StoredApiKey),
      clock,
    });
  const here = instance();
  const partner: Principal = {
    ...principalOf('PARTNER'),
    tenantId,
    credential: { kind: 'API_KEY', scopes: ['READ', 'CONVERSE'] },
  };
  const serviceOf = (principal: Principal) =>
    createOperationService({
      ...{ scope: { tenantId, principal }, store, check, clock },
      allowedIds: () => Promise.resolve(key.operationIds),
      changed: (index) => here.changed(tenantId, index),
    });
  const find = (gate: typeof here, id: string, principal = partner) => gate.find(principal, tenantId, id);
  const admin = serviceOf({ ...principalOf(), tenantId });
  return { clock, tenantId, requests, store, key, here, elsewhere: instance(), find, partner, admin, serviceOf };
}

describe('publishing', () => {
  it('keeps every operation under the SHA-256 of its body; again changes nothing and writes nothing', async () => {
    const { admin, requests } = open();
    const given = many(3);
    const { operations, newCount } = await admin.publish([given[0]!, { ...given[1]!, id: `sha256:${given[1]!.id}` }]);
    expect([ids(operations), newCount]).toEqual([ids(given.slice(0, 2)), 2]);
    expect(operations.map(({ name }) => name)).toEqual(['Agents0', 'Agents1']);
    expect(await Promise.all(operations.map(({ body }) => body()))).toEqual(given.slice(0, 2).map(({ body }) => body));
    requests.length = 0;
    const again = await admin.publish(given.slice(0, 2));
    expect([ids(again.operations), again.newCount]).toEqual([ids(given.slice(0, 2)), 0]);
    expect(requests).toEqual(['GetItemCommand']);
    expect((await admin.publish(given)).newCount).toBe(1);
  });

  it('is all or nothing: one that is wrong refuses them all, and everything that is wrong is named', async () => {
    const { admin, tenantId } = open();
    const wrong = [
      { id: operationIdOf('something else'), body: agents('Renamed').body },
      { id: 'no id', body: agents('Nameless').body },
      of('query Unknown { agent }'),
      of('query Broken {'),
      of('{ agents { id } }'),
      of('query One { agents { id } } query Two { agents { id } }'),
      of('query Schema { __schema { types { name } } }'),
      of(
        `query Costly { ${Array.from({ length: 60 }, (_, n) => `c${n}: conversations(first: 100) { nodes { id } }`).join(' ')} }`,
      ),
      of(`query Nested { ${'...on Query { '.repeat(30)} agents { id } ${'}'.repeat(30)} }`),
      of(`query Long { agents { id } } #${'x'.repeat(16_384)}`),
      of(`query ${'x'.repeat(101)} { agents { id } }`),
      of('query Least($f: ConversationFilter!, $n: Int!) { conversations(filter: $f, first: $n) { nodes { id } } }'),
    ];
    const failure = (await admin.publish([agents('Good'), ...wrong]).catch((error: unknown) => error)) as Error;
    expect(failure).toMatchObject({ code: 'BAD_USER_INPUT', details: { field: 'operations' } });
    const lines = failure.message.split('\n- ').slice(1);
    expect(lines.map((line) => line.slice(0, 48))).toEqual([
      'Renamed: its id is not the SHA-256 of its body',
      'Nameless: its id is not the SHA-256 of its body',
      expect.stringContaining('Unknown: Cannot query field "agent"'),
      expect.stringContaining('operation 5: Syntax Error'),
      'operation 6: it must hold one operation, with a ',
      'One: it must hold one operation, with a name',
      'Schema: it asks for the schema, which is shown t',
      expect.stringMatching(/^Costly: it costs \d+ points at least, of 5000/),
      'operation 11: it has more than 16384 bytes',
      `${'x'.repeat(48)}`,
    ]);
    expect(await storage.rowsOf(tenantId)).toEqual([]);
  });

  it('goes up to 1,000 with the longest names, whoever publishes at the same time; beyond that nothing is published', async () => {
    const { admin, serviceOf, partner, clock } = open();
    const all = Array.from({ length: OPERATIONS_MAX + 2 }, (_, n) => agents(`Agents${n}`.padEnd(100, 'x')));
    await admin.publish(all.slice(0, OPERATIONS_MAX - 4));
    const other = serviceOf({ ...partner, roles: ['TENANT_ADMIN'] });
    const results = await Promise.allSettled([
      admin.publish(all.slice(OPERATIONS_MAX - 4, OPERATIONS_MAX - 2)),
      other.publish(all.slice(OPERATIONS_MAX - 2, OPERATIONS_MAX)),
    ]);
    expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled']);
    expect(await admin.list()).toHaveLength(OPERATIONS_MAX);
    await expect(admin.publish([all.at(-1)!])).rejects.toMatchObject({
      code: 'CONFLICT',
      details: { limit: OPERATIONS_MAX },
    });
    await expect(admin.publish(all)).rejects.toMatchObject({ code: 'BAD_USER_INPUT' });
    // All that can be said of all of them fits into one row of DynamoDB (400 KB).
    const published = all.slice(0, OPERATIONS_MAX).map(({ id }) => id);
    expect(await admin.sunset(published, new Date(clock.now() + 60_000))).toHaveLength(OPERATIONS_MAX);
    await admin.unpublish([all[0]!.id]);
    expect((await admin.publish([all.at(-1)!])).newCount).toBe(1);
  });

  it('while the same operation is unpublished leaves it whole or gone, never a name without a body', async () => {
    const { admin, elsewhere, find } = open();
    const [one] = many(1);
    for (let n = 0; n < 5; n++) {
      await admin.publish([one!]);
      await Promise.all([admin.unpublish([one!.id]), admin.publish([one!])]);
      const [left] = await admin.list();
      if (left) expect(await left.body()).toBe(one!.body);
    }
    await admin.publish([one!]);
    expect((await find(elsewhere, one!.id))?.body).toBe(one!.body);
  });
});

describe('unpublishing', () => {
  it('removes the operations and their bodies; what is not published does not matter', async () => {
    const { admin, tenantId } = open();
    const given = many(3);
    await admin.publish(given);
    const gone = await admin.unpublish([given[0]!.id, given[2]!.id.toUpperCase(), operationIdOf('never')]);
    expect(gone).toEqual({ unpublishedIds: [given[0]!.id, given[2]!.id], count: 2 });
    expect(ids(await admin.list())).toEqual([given[1]!.id]);
    expect(await storage.rowsOf(tenantId)).toHaveLength(2);
    await expect(admin.unpublish(['no id'])).rejects.toMatchObject({
      code: 'BAD_USER_INPUT',
      details: { field: 'ids' },
    });
  });
});

describe('the end of an operation', () => {
  it('is announced until it comes; then the operation is found no more, until it is published again', async () => {
    const { admin, clock, here, find, serviceOf, partner } = open();
    const [one, two] = many(2);
    await admin.publish([one!, two!]);
    const announcedAt = new Date(clock.now()).toISOString();
    const at = new Date(clock.now() + 10_000);
    const [announced] = await admin.sunset([one!.id], at);
    expect(announced).toMatchObject({ deprecatedAt: announcedAt, sunsetAt: at.toISOString() });
    await clock.advance(1_000);
    // Another date is no new announcement.
    expect((await admin.sunset([one!.id], new Date(clock.now() + 5_000)))[0]!.deprecatedAt).toBe(announcedAt);
    await clock.advance(4_999);
    expect(await find(here, one!.id)).toMatchObject({ published: { deprecatedAt: announcedAt } });
    await clock.advance(1);
    expect(await find(here, one!.id)).toBeNull();
    expect(ids(await serviceOf(partner).list())).toEqual([two!.id]);
    expect(ids(await admin.list())).toHaveLength(2);
    expect((await admin.publish([one!])).newCount).toBe(1);
    expect(await find(here, one!.id)).toMatchObject({ published: { sunsetAt: null } });
  });

  it('is taken back by null; NOT_FOUND and BAD_USER_INPUT change nothing', async () => {
    const { admin, clock } = open();
    const [one] = many(1);
    await admin.publish([one!]);
    await admin.sunset([one!.id], new Date(clock.now() + 1_000));
    await expect(admin.sunset([one!.id, operationIdOf('never')], null)).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await expect(admin.sunset([one!.id], new Date(clock.now()))).rejects.toMatchObject({ code: 'BAD_USER_INPUT' });
    expect((await admin.list())[0]!.sunsetAt).not.toBeNull();
    await admin.sunset([one!.id], null);
    expect((await admin.list())[0]).toMatchObject({ deprecatedAt: null, sunsetAt: null });
  });
});

describe('running by id', () => {
  it('costs one read of the tenant in 25 s and one of each body ever; what is not published costs nothing', async () => {
    const { admin, elsewhere, find, requests, clock } = open();
    const given = many(3);
    await admin.publish(given);
    requests.length = 0;
    for (let n = 0; n < 20; n++) await Promise.all(ids(given).map((id) => find(elsewhere, id)));
    expect(requests.sort()).toEqual([...Array.from({ length: 3 }, () => 'BatchGetItemCommand'), 'GetItemCommand']);
    requests.length = 0;
    for (let n = 0; n < 50; n++) expect(await find(elsewhere, operationIdOf(`guess ${n}`))).toBeNull();
    expect(await find(elsewhere, 'no id')).toBeNull();
    expect(requests).toEqual([]);
    await clock.advance(INDEX_CACHE_MS);
    await Promise.all(ids(given).map((id) => find(elsewhere, id)));
    expect(requests).toEqual(['GetItemCommand']);
  });

  it('of what was unpublished ends at once here, and elsewhere when what was read is 25 s old', async () => {
    const { admin, here, elsewhere, find, clock } = open();
    const [one] = many(1);
    await admin.publish([one!]);
    expect(await find(here, one!.id)).not.toBeNull();
    expect(await find(elsewhere, one!.id)).not.toBeNull();
    await admin.unpublish([one!.id]);
    expect(await find(here, one!.id)).toBeNull();
    expect(await find(elsewhere, one!.id)).not.toBeNull();
    await clock.advance(INDEX_CACHE_MS);
    expect(await find(elsewhere, one!.id)).toBeNull();
  });

  it('knows which are a key’s own, and how strictly it is held to them; a tenant knows its own only', async () => {
    const { admin, here, find, key, partner, tenantId } = open();
    const [one, two] = many(2);
    await admin.publish([one!, two!]);
    key.operationIds = [one!.id];
    expect((await find(here, one!.id))?.allowed).toBe(true);
    expect((await find(here, two!.id))?.allowed).toBe(false);
    expect((await find(here, two!.id, { ...principalOf('MEMBER'), tenantId }))?.allowed).toBe(true);
    expect(await here.strictness(partner)).toBe('BOUND');
    key.enforcement = 'LOG_ONLY';
    expect(await here.strictness(partner)).toBe('REPORTED');
    expect(await here.strictness(principalOf('MEMBER'))).toBe('FREE');
    expect(await here.find(partner, storage.tenant(), one!.id)).toBeNull();
  });

  it('a partner’s list is what its key may run', async () => {
    const { admin, key, serviceOf, partner } = open();
    const [one, two] = many(2);
    await admin.publish([one!, two!]);
    expect(await serviceOf(partner).list()).toHaveLength(2);
    key.operationIds = [two!.id, operationIdOf('not yet')];
    expect(ids(await serviceOf(partner).list())).toEqual([two!.id]);
  });
});

it('the operations that stand beside the schema fit it', () => {
  const manifest = readManifest(join(import.meta.dirname, '../../schema/published-operations.json'));
  expect(manifest.size).toBeGreaterThan(3);
  expect([...manifest.values()].flatMap((body) => check(body).problems)).toEqual([]);
});

it('an operation that the schema no longer knows is listed with what is wrong, and stands in the way of nothing', async () => {
  const { admin, store, clock, tenantId, find, here } = open();
  const [good] = many(1);
  await admin.publish([good!]);
  const old = of('query Old { agents { id colour } }');
  const { operations, version } = await store.index();
  const row = {
    ...operations.get(good!.id)!,
    id: old.id,
    name: 'Old',
    publishedAt: new Date(clock.now() + 1).toISOString(),
  };
  await store.saveBodies([{ ...row, body: old.body }]);
  await store.replaceIndex({ version: version + 1, operations: new Map([...operations, [old.id, row]]) }, version);
  const [first, second] = await admin.list();
  expect([await first!.valid(), await first!.problems()]).toEqual([false, [expect.stringContaining('colour')]]);
  expect([await second!.valid(), await second!.problems()]).toEqual([true, []]);
  expect((await admin.publish([agents('Later')])).newCount).toBe(1);
  expect(await find(here, good!.id)).not.toBeNull();
  expect(tenantId).toBe(row.tenantId);
});
