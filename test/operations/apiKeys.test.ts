import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { RECHECK_EVERY_MS } from '../../src/server/rechecks.ts';
import { createTestClock } from '../support/clock.ts';
import { openSocket } from '../support/raw-socket.ts';
import { NO_CONVERSATION } from '../support/refusals.ts';
import { ENDLESS, startTurn } from '../support/turns.ts';
import { startWorld, STREAM, type World } from '../support/world.ts';

const KEY = `id name prefix scopes operationIds expiresAt lastUsedAt revokedAt createdAt`;
const KEYS = `{ apiKeys { ${KEY} } }`;
const CREATE = `mutation($input: CreateApiKeyInput!) { createApiKey(input: $input) { apiKey { ${KEY} } secret } }`;
const REVOKE = `mutation($id: ID!) { revokeApiKey(id: $id) { apiKey { ${KEY} } secret } }`;
const NODE = `query($id: ID!) { node(id: $id) { __typename id ... on ApiKey { name } } }`;
const VIEWER = '{ viewer { id name email roles tenant { id } } }';
const START = `mutation { createConversation(input: { title: "Ours" }) { conversation { id owner { id name email } } } }`;

const clock = createTestClock(Date.now());
let world: World;
let acmePartner: Partner;
let globexPartner: Partner;
type Partner = Awaited<ReturnType<World['createPartner']>>;
beforeAll(async () => {
  world = await startWorld({ clock });
  acmePartner = await world.createPartner(world.acme.admin, { name: 'Acme Partner' });
  globexPartner = await world.createPartner(world.globex.admin);
});
afterAll(async () => {
  let stopped = false;
  const stop = world.stop().finally(() => (stopped = true));
  while (!stopped) await clock.advance(1_000); // an answer of these tests never ends by itself
  await stop;
});

const createKey = (input: Record<string, unknown> = {}) => world.createPartner(world.acme.admin, input);

const refusedKey = { status: 401, code: 'UNAUTHENTICATED' };

describe('createApiKey', () => {
  it('ok: the secret is shown once, and whoever sends it is a partner of the tenant', async () => {
    const { data } = await world.acme.admin.run(CREATE, {
      input: { name: 'Shop', scopes: ['READ'], enforcement: 'LOG_ONLY' },
    });
    const { apiKey, secret } = data.createApiKey;
    expect(apiKey).toMatchObject({
      ...{ name: 'Shop', scopes: ['READ'], operationIds: null, expiresAt: null, lastUsedAt: null, revokedAt: null },
    });
    expect(secret).toMatch(/^ak_acme_[0-9A-Z]{26}_[\w-]{43}$/);
    const shop = world.caller(null, { 'x-api-key': secret as string });
    expect((await shop.run(VIEWER)).data.viewer).toEqual({
      ...{ id: apiKey.id, name: 'Shop', email: null, roles: ['PARTNER'], tenant: { id: 'acme' } },
    });
    const listed = await world.acme.admin.run(KEYS);
    expect(JSON.stringify(listed.data)).toContain(apiKey.id);
    expect(JSON.stringify(listed.data)).not.toContain(String(secret).slice(-43));
  });

  it('BAD_USER_INPUT names the field; FORBIDDEN for anybody but an administrator of the tenant', async () => {
    const input = { name: 'Shop', expiresAt: '2020-01-01T00:00:00Z' };
    const refused = await world.acme.admin.run(CREATE, { input });
    expect(refused.errors[0]?.extensions).toMatchObject({ code: 'BAD_USER_INPUT', field: 'expiresAt' });
    const operator = world.operator.with({ 'x-tenant-id': 'acme' });
    for (const who of [world.acme.member, acmePartner, operator])
      expect((await who.run(CREATE, { input: { name: 'Shop' } })).code).toBe('FORBIDDEN');
  });

  it('is in the audit trail with its id, and without its name and secret', async () => {
    const { id, secret } = await createKey({ name: 'Zebra', expiresAt: '2099-01-01T00:00:00.000Z' });
    await world.product.recorded();
    const query = `query($filter: AuditFilter) { auditLog(filter: $filter) { nodes { action resource result details } } }`;
    const { data } = await world.acme.admin.run(query, { filter: { resource: `apiKey/${id}` } });
    expect(data.auditLog.nodes).toEqual([
      {
        ...{ action: 'apiKey.create', resource: `apiKey/${id}`, result: 'SUCCESS' },
        details: { expiresAt: '2099-01-01T00:00:00.000Z' },
      },
    ]);
    expect(JSON.stringify(data)).not.toMatch(new RegExp(`Zebra|${secret.slice(-43)}`));
  });
});

describe('apiKeys', () => {
  it('ok for an administrator: newest first, with what is known of their use', async () => {
    const older = await createKey();
    await clock.advance(1);
    const newer = await createKey({ operationIds: ['a'.repeat(64)] });
    await older.run(VIEWER);
    const { data } = await world.acme.admin.run(KEYS);
    const keys = data.apiKeys as readonly { id: string; lastUsedAt: string | null }[];
    const [second, first] = [older, newer].map(({ id }) => keys.findIndex((key) => key.id === id));
    expect(first).toBeLessThan(second!);
    expect(keys[first!]).toMatchObject({ lastUsedAt: null, operationIds: ['a'.repeat(64)] });
    await expect.poll(async () => (await world.acme.admin.run(KEYS)).data.apiKeys[second!].lastUsedAt).not.toBeNull();
  });

  it('UNAUTHENTICATED for nobody, FORBIDDEN for members, partners and acting operators', async () => {
    const operator = world.operator.with({ 'x-tenant-id': 'acme' });
    for (const who of [world.acme.member, acmePartner, operator]) expect((await who.run(KEYS)).code).toBe('FORBIDDEN');
    expect((await world.nobody.run(KEYS)).code).toBe('UNAUTHENTICATED');
  });

  it('are nobody else’s: not in another tenant’s list, and no node for anybody but an administrator', async () => {
    const { id } = await createKey();
    expect((await world.acme.admin.run(NODE, { id })).data.node).toEqual({ __typename: 'ApiKey', id, name: 'Shop' });
    expect(JSON.stringify((await world.globex.admin.run(KEYS)).data)).not.toContain(id);
    for (const who of [world.acme.member, acmePartner, world.globex.admin, world.operator.with(IN_ACME)])
      expect((await who.run(NODE, { id })).data).toEqual({ node: null });
  });
});

const IN_ACME = { 'x-tenant-id': 'acme' };

describe('revokeApiKey', () => {
  it('ok: refused at once here; again changes nothing; NOT_FOUND in another tenant', async () => {
    const key = await createKey();
    expect((await world.globex.admin.run(REVOKE, { id: key.id })).code).toBe('NOT_FOUND');
    expect((await key.run(VIEWER)).status).toBe(200);
    const { data } = await world.acme.admin.run(REVOKE, { id: key.id });
    expect(data.revokeApiKey).toMatchObject({ apiKey: { id: key.id }, secret: null });
    expect(await key.run(VIEWER)).toMatchObject(refusedKey);
    const again = await world.acme.admin.run(REVOKE, { id: key.id });
    expect(again.data.revokeApiKey.apiKey.revokedAt).toBe(data.revokeApiKey.apiKey.revokedAt);
  });

  it('ends what the key has open: each subscription is told why, and then the socket is closed with 4403', async () => {
    const key = await createKey();
    const conversation = await key.createConversation();
    const { answerId: messageId } = await startTurn(key, conversation, ENDLESS);
    const socket = await openSocket(world.wsUrl);
    await socket.init({ 'X-API-Key': key.secret });
    socket.subscribe('stream', STREAM, { messageId });
    expect((await socket.next()).payload.data.messageStream.sequence).toBe(1);
    await world.acme.admin.run(REVOKE, { id: key.id });
    await clock.advance(RECHECK_EVERY_MS); // an event would be refused at once; here there is none
    const told = await socket.until('complete');
    expect(told.at(-2)?.payload.errors[0].extensions.code).toBe('UNAUTHENTICATED');
    expect(await socket.closed).toMatchObject({ code: 4403 });
  });

  it('keeps what the key owned, under its name', async () => {
    const key = await createKey({ name: 'Late Shop' });
    const conversationId = await key.createConversation();
    await world.acme.admin.run(REVOKE, { id: key.id });
    const query = `query($id: ID!, $owner: ID!) {
      conversation(id: $id) { owner { id name email } }
      conversations(filter: { ownerId: $owner }) { nodes { id owner { name } } }
    }`;
    const { data } = await world.acme.admin.run(query, { id: conversationId, owner: key.id });
    expect(data).toEqual({
      conversation: { owner: { id: key.id, name: 'Late Shop', email: null } },
      conversations: { nodes: [{ id: conversationId, owner: { name: 'Late Shop' } }] },
    });
  });
});

describe('a request with an API key', () => {
  it('owns what it starts, and sees nothing of anybody else, by any path', async () => {
    const [ours, theirs] = [acmePartner, world.acme.member];
    const { data } = await ours.run(START);
    expect(data.createConversation.conversation.owner).toEqual({
      ...{ id: ours.id, name: 'Acme Partner', email: null },
    });
    const own = data.createConversation.conversation.id as string;
    expect((await ours.ask(own, 'What is your refund policy?')).data.sendMessage.assistantMessage.status).toBe(
      'COMPLETED',
    );
    const foreign = await theirs.createConversation();
    const seen = `query($id: ID!) { conversation(id: $id) { id } node(id: $id) { id } conversations { nodes { id } } }`;
    expect((await ours.run(seen, { id: foreign })).data).toEqual({
      ...{ conversation: null, node: null, conversations: { nodes: [{ id: own }] } },
    });
    expect((await ours.ask(foreign, 'Hello')).code).toBe('NOT_FOUND');
    expect((await globexPartner.ask(own, 'Hello')).code).toBe('NOT_FOUND');
    expect((await theirs.run(seen, { id: own })).data).toMatchObject({ conversation: null, node: null });
    const usage = `query($start: DateTime!, $end: DateTime!) { usageSummary(start: $start, end: $end) { byUser { user { id name } turns } } }`;
    const day = {
      start: new Date(Date.now() - 86_400_000).toISOString(),
      end: new Date(Date.now() + 60_000).toISOString(),
    };
    const summary = await world.acme.admin.run(usage, day);
    expect(summary.data.usageSummary.byUser).toContainEqual({
      ...{ user: { id: ours.id, name: 'Acme Partner' }, turns: 1 },
    });
  });

  it('does what its scopes allow, and the rest is FORBIDDEN and in the audit trail', async () => {
    const reader = await createKey({ scopes: ['READ'] });
    const writer = await createKey({ scopes: ['CONVERSE'] });
    const list = '{ conversations { nodes { id } } }';
    const usage = `{ viewer { usage(start: "2026-11-01T00:00:00Z", end: "2026-11-02T00:00:00Z") { turns } } }`;
    expect((await reader.run(list)).data).toEqual({ conversations: { nodes: [] } });
    expect((await writer.run(START)).data.createConversation.conversation.owner.id).toBe(writer.id);
    const refused = [
      await reader.run(START),
      await reader.ask(NO_CONVERSATION, 'Hello'),
      await writer.run(list),
      await writer.run(usage),
      await writer.run('{ tenant { id } }'),
    ];
    expect(refused.map(({ code }) => code)).toEqual(refused.map(() => 'FORBIDDEN'));
    const streamed = await writer.stream(STREAM, { messageId: 'msg-1' }).next();
    expect(streamed.value?.errors?.[0]?.extensions['code']).toBe('FORBIDDEN');
    await world.product.recorded();
    const { data } = await world.acme.admin.run(
      `query($filter: AuditFilter) { auditLog(filter: $filter) { nodes { action details } } }`,
      { filter: { actorId: writer.id, result: 'FAILURE' } },
    );
    expect(data.auditLog.nodes).toContainEqual({ action: 'query.conversations', details: { code: 'FORBIDDEN' } });
  });

  it('is refused where it also brings a token, whatever both are, over HTTP and over a WebSocket', async () => {
    const both = world.acme.member.with({ 'x-api-key': acmePartner.headers['x-api-key']! });
    expect(await both.run(VIEWER)).toMatchObject(refusedKey);
    expect((await both.run(VIEWER)).errors[0]?.message).toContain('not both');
    const socket = await openSocket(world.wsUrl);
    socket.send({ type: 'connection_init', payload: both.headers });
    expect(await socket.closed).toMatchObject({ code: 4403 });
  });

  it('FORBIDDEN where it names another tenant, UNAUTHENTICATED where it is no key, the same over both transports', async () => {
    const partner = acmePartner;
    const text = partner.secret;
    expect(await partner.with({ 'x-tenant-id': 'globex' }).run(SEND_NOTHING)).toMatchObject({
      ...{ status: 403, code: 'FORBIDDEN' },
    });
    expect((await partner.with(IN_ACME).run(SEND_NOTHING)).data).toEqual({ tenant: { id: 'acme' } });
    for (const key of ['', 'ak_acme', text.replace('acme', 'globex'), text.slice(0, -1), `${text},${text}`]) {
      expect([key, await world.caller(null, { 'x-api-key': key }).run(VIEWER)]).toMatchObject([key, refusedKey]);
      const socket = await openSocket(world.wsUrl);
      socket.send({ type: 'connection_init', payload: { 'x-api-key': key } });
      expect(await socket.closed).toMatchObject({ code: 4403 });
    }
  });

  it('TENANT_SUSPENDED while the tenant is, but it may still ask who it is', async () => {
    const status = (to: string) =>
      world.operator.run(`mutation { setTenantStatus(tenantId: "globex", status: ${to}) { tenant { status } } }`);
    const partner = globexPartner;
    await status('SUSPENDED');
    expect(await partner.run(SEND_NOTHING)).toMatchObject({ status: 403, code: 'TENANT_SUSPENDED' });
    expect((await partner.run(VIEWER)).data.viewer.tenant).toEqual({ id: 'globex' });
    await status('ACTIVE');
    expect((await partner.run(SEND_NOTHING)).data).toEqual({ tenant: { id: 'globex' } });
  });
});

const SEND_NOTHING = '{ tenant { id } }';
