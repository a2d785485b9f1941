import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createMemoryAttemptCounters } from '../../src/adapters/memory/attempt-counters.ts';
import { countRefusals } from '../../src/auth/attempts.ts';
import type { AppError } from '../../src/kernel/errors.ts';
import { createApiKeyService, LIVE_KEYS_MAX, type NewApiKey } from '../../src/partners/api-keys.ts';
import {
  createApiKeyAuthentication,
  KEY_CACHE_MS,
  USE_NOTED_EVERY_MS,
  type ApiKeyAuthentication,
} from '../../src/partners/authentication.ts';
import type { StoredApiKey } from '../../src/partners/model.ts';
import { newApiKeyId, writeApiKey } from '../../src/tenancy/api-key.ts';
import { hashOfSecret, newSecret } from '../../src/tenancy/secret.ts';
import type { TenantId } from '../../src/tenancy/tenant-id.ts';
import { principalOf } from '../support/bound-api.ts';
import { createTestClock } from '../support/clock.ts';
import { openEmbeddedStorage, type Storage } from '../support/dynamodb-storage.ts';

let storage: Storage;
beforeAll(async () => {
  storage = await openEmbeddedStorage();
});
afterAll(() => storage.close());

const ADDRESS = '192.0.2.7';
const refused = { code: 'UNAUTHENTICATED', message: 'The API key is not valid, has expired, or was revoked.' };
const KEY: NewApiKey = { name: 'Shop', scopes: ['READ', 'CONVERSE'] };

/** A tenant's administration of its keys, and instances that keys are shown to. */
function open() {
  const clock = createTestClock(Date.now());
  const tenantId = storage.tenant();
  const requests: string[] = [];
  const db = storage.connect({
    clock,
    onRequest: ({ operation, phase }) => void (phase === 'sent' && requests.push(operation)),
  });
  const instance = (): ApiKeyAuthentication =>
    createApiKeyAuthentication({
      storeOf: (home) => db.forTenant(home).apiKeys,
      refused: countRefusals(createMemoryAttemptCounters(), 'apiKey'),
      clock,
      noteFailed: (error) => {
        throw error;
      },
    });
  const store = db.forTenant(tenantId).apiKeys;
  const administrationFor = (authentication: ApiKeyAuthentication) =>
    createApiKeyService({
      scope: { tenantId, principal: { ...principalOf(), tenantId } },
      store,
      usage: { list: () => Promise.resolve([]) },
      changed: authentication.changed,
      clock,
    });
  const here = instance();
  return { clock, tenantId, requests, store, here, elsewhere: instance(), keys: administrationFor(here) };
}

const withSecret = (text: string, secret: string) => text.replace(/[\w-]{43}$/, secret);

describe('an API key', () => {
  it('is its tenant’s name, its own and 256 random bits, of which only a hash is stored', async () => {
    const { keys, tenantId } = open();
    const { apiKey, secret } = await keys.create({ ...KEY, name: ' Shop ' });
    expect(secret).toMatch(new RegExp(`^ak_${tenantId}_${apiKey.id.slice(4)}_[\\w-]{43}$`));
    expect(secret.startsWith(`${apiKey.prefix}_`)).toBe(true);
    expect(apiKey).toMatchObject({ name: 'Shop', operationIds: null, expiresAt: null, lastUsedAt: null });
    const rows = JSON.stringify(await storage.rowsOf(tenantId));
    expect(rows).not.toContain(secret.slice(-43));
    expect(rows).toContain(hashOfSecret(secret.slice(-43)));
    expect(JSON.stringify([apiKey, await keys.list(), await keys.find(apiKey.id)])).not.toContain('Hash');
  });

  it('is a PARTNER of its tenant with its own name, scopes and end', async () => {
    const { keys, here, clock, tenantId } = open();
    const expiresAt = new Date(clock.now() + 3_600_000);
    const { apiKey, secret } = await keys.create({ name: 'Shop', scopes: ['READ', 'READ'], expiresAt });
    expect(await here.principalOf(secret, ADDRESS)).toEqual({
      ...{ userId: apiKey.id, name: 'Shop', email: null, roles: ['PARTNER'], tenantId },
      credential: { kind: 'API_KEY', scopes: ['READ'] },
      expiresAt: expiresAt.getTime(),
    });
  });

  it.each([
    ['a name that is empty', { name: ' ' }, 'name'],
    ['a name that is too long', { name: 'x'.repeat(201) }, 'name'],
    ['a name that is none', { name: 'a\u0007b' }, 'name'],
    ['no scope', { scopes: [] }, 'scopes'],
    ['an end that is past', { expiresAt: new Date(0) }, 'expiresAt'],
    ['an operation that is none', { operationIds: ['GetUser'] }, 'operationIds'],
    ['too many operations', { operationIds: Array.from({ length: 1_001 }, (_, n) => hex(n)) }, 'operationIds'],
  ])('with %s is BAD_USER_INPUT, and nothing is stored', async (_what, input, field) => {
    const { keys, tenantId } = open();
    await expect(keys.create({ ...KEY, ...input })).rejects.toMatchObject({
      code: 'BAD_USER_INPUT',
      details: { field },
    });
    expect(await storage.rowsOf(tenantId)).toEqual([]);
  });

  it('names its operations each once, in one spelling', async () => {
    const { keys } = open();
    const id = hex(0xabc);
    const { apiKey } = await keys.create({ ...KEY, operationIds: [id, id.toUpperCase(), `sha256:${id}`] });
    expect(apiKey.operationIds).toEqual([id]);
  });
});

const hex = (n: number) => n.toString(16).padStart(64, '0');

describe('who holds a key', () => {
  it('is refused in one and the same way: misspelt, unknown, of another tenant, with another secret, expired, revoked', async () => {
    const { keys, here, clock, tenantId } = open();
    const { secret } = await keys.create(KEY);
    const brief = await keys.create({ ...KEY, expiresAt: new Date(clock.now() + 1_000) });
    const revoked = await keys.create(KEY);
    await here.principalOf(brief.secret, ADDRESS);
    await keys.revoke(revoked.apiKey.id);
    await clock.advance(1_000);
    const cases = [
      '',
      'ak_',
      `${secret} `,
      secret.toLowerCase(),
      secret.replace(tenantId, 'Acme'),
      secret.replace(tenantId, 'platform'),
      secret.replace(tenantId, 'globex'),
      writeApiKey(tenantId, newApiKeyId(clock.now()), newSecret()),
      withSecret(secret, newSecret()),
      withSecret(secret, 'A'.repeat(43)),
      brief.secret,
      revoked.secret,
    ];
    for (const text of cases) await expect(here.principalOf(text, ADDRESS), text).rejects.toMatchObject(refused);
    await expect(here.principalOf(secret, ADDRESS)).resolves.toMatchObject({ name: 'Shop' });
  });

  it('costs one read in 25 s, and one write a minute, whatever number of requests', async () => {
    const { keys, here, clock, requests, store } = open();
    const { apiKey, secret } = await keys.create(KEY);
    requests.length = 0;
    const principal = await here.principalOf(secret, ADDRESS);
    await Promise.all(Array.from({ length: 50 }, () => here.principalOf(secret, ADDRESS)));
    expect(await here.rolesNow(principal)).toEqual(['PARTNER']);
    await here.idle();
    expect(requests).toEqual(['GetItemCommand', 'UpdateItemCommand']);
    const usedAt = clock.now();
    expect((await store.get(apiKey.id))?.lastUsedAt).toBe(new Date(usedAt).toISOString());

    requests.length = 0;
    await clock.advance(KEY_CACHE_MS);
    await here.principalOf(secret, ADDRESS);
    expect(requests).toEqual(['GetItemCommand']);
    await clock.advance(USE_NOTED_EVERY_MS - KEY_CACHE_MS);
    await here.principalOf(secret, ADDRESS);
    await here.idle();
    expect(requests).toEqual(['GetItemCommand', 'GetItemCommand', 'UpdateItemCommand']);
    expect((await store.get(apiKey.id))?.lastUsedAt).toBe(new Date(usedAt + USE_NOTED_EVERY_MS).toISOString());
  });

  it('is noted as in use by what it does on a connection that stays open', async () => {
    const { keys, here, clock, store, tenantId } = open();
    const { apiKey, secret } = await keys.create(KEY);
    await here.principalOf(secret, ADDRESS);
    await clock.advance(USE_NOTED_EVERY_MS);
    here.noteUse({ tenantId, id: apiKey.id });
    await here.idle();
    expect((await store.get(apiKey.id))?.lastUsedAt).toBe(new Date(clock.now()).toISOString());
  });

  it('is let in while its use cannot be noted, and is not noted as used before it was', async () => {
    const { keys, clock, store, tenantId } = open();
    const { apiKey, secret } = await keys.create(KEY);
    const failures: unknown[] = [];
    const failing = createApiKeyAuthentication({
      storeOf: () => ({ get: (id) => store.get(id), used: () => Promise.reject(new Error('the store is away')) }),
      refused: countRefusals(createMemoryAttemptCounters(), 'apiKey'),
      clock,
      noteFailed: (error) => void failures.push(error),
    });
    await expect(failing.principalOf(secret, ADDRESS)).resolves.toMatchObject({ tenantId });
    await failing.idle();
    expect(failures).toHaveLength(1);
    await store.used(apiKey.id, '2026-11-20T12:00:00.000Z');
    await store.used(apiKey.id, '2026-11-20T11:00:00.000Z');
    expect((await store.get(apiKey.id))?.lastUsedAt).toBe('2026-11-20T12:00:00.000Z');
    await store.used(newApiKeyId(clock.now()), '2026-11-20T11:00:00.000Z');
    expect(await store.list()).toHaveLength(1);
  });

  it('that guesses costs a bounded number of reads, and does not keep out a key that was right before', async () => {
    const { keys, here, clock, requests, tenantId } = open();
    const { secret } = await keys.create(KEY);
    const other = await keys.create(KEY);
    await here.principalOf(secret, ADDRESS);
    await here.idle();
    requests.length = 0;
    const unknown = writeApiKey(tenantId, newApiKeyId(clock.now()), newSecret());
    for (let n = 0; n < 30; n++) await expect(here.principalOf(unknown, ADDRESS)).rejects.toMatchObject(refused);
    expect(requests).toHaveLength(1); // what is not there is remembered too
    const guess = () => here.principalOf(writeApiKey(tenantId, newApiKeyId(clock.now()), newSecret()), ADDRESS);
    const codes = new Map<string, number>();
    for (let n = 0; n < 200; n++) {
      const { code } = (await guess().catch((error: unknown) => error)) as { code: string };
      codes.set(code, (codes.get(code) ?? 0) + 1);
    }
    expect([...codes]).toEqual([
      ['UNAUTHENTICATED', 70],
      ['RATE_LIMITED', 130],
    ]);
    expect(requests).toHaveLength(71);
    const { details } = (await guess().catch((error: unknown) => error)) as AppError;
    expect(details['retryAfterMs']).toBeLessThanOrEqual(15 * 60_000);
    expect(details['retryAfterMs']).toBeGreaterThan(14 * 60_000);
    await clock.advance(KEY_CACHE_MS);
    await expect(here.principalOf(secret, ADDRESS)).resolves.toMatchObject({ tenantId });
    await expect(here.principalOf(other.secret, ADDRESS)).rejects.toMatchObject({ code: 'RATE_LIMITED' });
    await expect(here.principalOf(other.secret, '192.0.2.8')).resolves.toMatchObject({ tenantId });
  });
});

describe('revoking a key', () => {
  it('holds at once here, and elsewhere when what was read of the key is 25 s old', async () => {
    const { keys, here, elsewhere, clock } = open();
    const { apiKey, secret } = await keys.create(KEY);
    const principal = await here.principalOf(secret, ADDRESS);
    await elsewhere.principalOf(secret, ADDRESS);
    const revoked = await keys.revoke(apiKey.id);
    expect(revoked.revokedAt).toBe(new Date(clock.now()).toISOString());
    await expect(here.principalOf(secret, ADDRESS)).rejects.toMatchObject(refused);
    expect(await here.rolesNow(principal)).toBeNull();
    await clock.advance(KEY_CACHE_MS - 1);
    expect(await elsewhere.rolesNow(principal)).toEqual(['PARTNER']);
    await clock.advance(1);
    expect(await elsewhere.rolesNow(principal)).toBeNull();
    await expect(elsewhere.principalOf(secret, ADDRESS)).rejects.toMatchObject(refused);
    expect((await keys.revoke(apiKey.id)).revokedAt).toBe(revoked.revokedAt);
  });

  it('NOT_FOUND for what is no key, or of another tenant; nothing is stored', async () => {
    const { keys, tenantId } = open();
    const other = await open().keys.create(KEY);
    for (const id of ['', 'key-', other.apiKey.id, principalOf().userId])
      await expect(keys.revoke(id)).rejects.toMatchObject({ code: 'NOT_FOUND' });
    expect(await storage.rowsOf(tenantId)).toEqual([]);
  });
});

describe('the keys of a tenant', () => {
  const endless = (tenantId: TenantId, nowMs: number): StoredApiKey => ({
    ...{ tenantId, id: newApiKeyId(nowMs), name: 'Shop', prefix: '', scopes: ['READ'], operationIds: null },
    ...{
      enforcement: 'ENFORCE',
      expiresAt: null,
      lastUsedAt: null,
      revokedAt: null,
      createdAt: '',
      secretHash: 'hash',
    },
  });

  it('are at most 100 that may be used: of those who take the last place at the same time, none goes beyond it', async () => {
    const { keys, store, clock, tenantId } = open();
    const fill = (count: number) =>
      Promise.all(Array.from({ length: count }, () => store.create(endless(tenantId, clock.now()))));
    await fill(LIVE_KEYS_MAX - 1);
    const results = await Promise.allSettled([keys.create(KEY), keys.create(KEY), keys.create(KEY)]);
    const failures = results.flatMap((result) => (result.status === 'rejected' ? [result.reason as unknown] : []));
    for (const failure of failures)
      expect(failure).toMatchObject({ code: 'CONFLICT', details: { limit: LIVE_KEYS_MAX } });
    expect(failures.length).toBeGreaterThanOrEqual(2);
    const all = await keys.list();
    expect(all.length).toBe(LIVE_KEYS_MAX + 2 - failures.length);
    // A key that ended makes room, and is still shown.
    await keys.revoke(all.at(-1)!.id);
    if (failures.length === 2) await keys.revoke(all.at(-2)!.id);
    await keys.create(KEY);
    expect(await keys.list()).toHaveLength(all.length + 1);
  });

  it('are shown newest first; of those that ended, the newest 100', async () => {
    const { keys, store, clock, tenantId } = open();
    const live = await keys.create(KEY);
    for (let n = 0; n < 105; n++) {
      await clock.advance(1);
      await store.create(endless(tenantId, clock.now()));
    }
    const made = (await store.list()).filter(({ id }) => id !== live.apiKey.id);
    await Promise.all(made.map(({ id }) => store.revoke(id, '2026-11-20T13:00:00.000Z')));
    const shown = await keys.list();
    expect(shown.map(({ id }) => id)).toEqual([...made.slice(0, 100).map(({ id }) => id), live.apiKey.id]);
  });
});

it('a key is a user of its own name, revoked or not, with a way to nobody else', async () => {
  const { keys, tenantId } = open();
  const { apiKey } = await keys.create(KEY);
  await keys.revoke(apiKey.id);
  const { users } = storage.connect().forTenant(tenantId);
  expect(await users.getMany([apiKey.id, newApiKeyId(0)])).toEqual([
    { tenantId, id: apiKey.id, name: 'Shop', email: null, roles: ['PARTNER'] },
    null,
  ]);
});
