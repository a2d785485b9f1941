import { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { DynamoDBDocumentClient, UpdateCommand } from '@aws-sdk/lib-dynamodb';
import { describe, expect, it, onTestFinished } from 'vitest';
import { createAgentCatalogue } from '../../src/agents/catalogue.ts';
import { createStanding } from '../../src/auth/standing.ts';
import type { ContextBinder, RequestContext, TenantServices } from '../../src/context.ts';
import type { StreamEvent } from '../../src/conversations/model.ts';
import { createEventQueue } from '../../src/kernel/event-queue.ts';
import { AppError } from '../../src/kernel/errors.ts';
import { createOperationLog } from '../../src/server/log.ts';
import { createContexts } from '../../src/server/request-context.ts';
import { createSchema } from '../../src/server/schema.ts';
import type { FindDocument } from '../../src/server/operations/documents.ts';
import { createExecution } from '../../src/server/operations/execution.ts';
import { createSubscriptionCounts } from '../../src/server/operations/subscription-limits.ts';
import { createStreamedOperations } from '../../src/server/streamed-operations.ts';
import { createEventStream, type EventStream } from '../../src/server/event-stream.ts';
import type { Principal, Role } from '../../src/tenancy/principal.ts';
import { createTenantService, TENANT_CACHE_MS } from '../../src/tenants/service.ts';
import type { Tenant } from '../../src/tenants/model.ts';
import { OWN, principalOf, startBoundApi, tenantOf } from '../support/bound-api.ts';
import { createTestClock, settle, type TestClock } from '../support/clock.ts';
import { captureLog } from '../support/log-capture.ts';
import { startOwnStorage } from '../support/own-storage.ts';
import { openSocket } from '../support/raw-socket.ts';
import { follow, startTurn } from '../support/turns.ts';
import { startWorld, testConfig } from '../support/world.ts';

const QUERY = `subscription { messageStream(messageId: "x") { sequence ... on MessageDelta { text } } }`;
const delta = (sequence: number): StreamEvent => ({ sequence, type: 'DELTA', text: `text ${sequence}` });
const shown = (sequence: number) => ({ data: { messageStream: { sequence, text: `text ${sequence}` } } });
const codes = (result: { readonly errors?: readonly { readonly extensions: object }[] } | undefined) =>
  result?.errors?.map(({ extensions }) => (extensions as { code?: unknown }).code);

/** A tenant whose configuration the test changes, entered by the product's own rules, and one stream that the test writes. */
function createSource(clock: TestClock) {
  let tenant: Tenant | null = tenantOf(OWN);
  let left = 0;
  let bound = 0;
  const events = createEventQueue<StreamEvent>({ onEnd: () => left++ });
  const tenants = createTenantService({
    directory: { get: () => Promise.resolve(tenant), hasLeft: () => Promise.resolve(false) },
    clock,
  });
  return {
    events,
    /** How often a reader has gone. */
    left: () => left,
    /** How often services were made. */
    bound: () => bound,
    change(changes: Partial<Tenant> | null) {
      tenant = changes && { ...tenantOf(OWN), ...changes };
    },
    bindTenant: async ({ namedTenant }: RequestContext, principal: Principal): Promise<TenantServices> => {
      bound++;
      const entered = await tenants.enter(principal, namedTenant);
      const scope = { tenantId: entered.id, principal };
      return { scope, tenant: entered, turns: { watch: () => Promise.resolve(events) } } as unknown as TenantServices;
    },
  };
}

async function startApi({ principal = principalOf('MEMBER') }: { readonly principal?: Principal } = {}) {
  const clock = createTestClock();
  const source = createSource(clock);
  const credential = { roles: principal.roles as readonly Role[] | null, reads: 0, failing: false };
  const rolesNow = () => {
    credential.reads++;
    return credential.failing ? Promise.reject(new Error('the store is away')) : Promise.resolve(credential.roles);
  };
  const api = await startBoundApi({ bindTenant: source.bindTenant, principal, rolesNow, clock });
  onTestFinished(() => api.stop());
  return { clock, source, credential, api };
}

describe('a subscription that is open', () => {
  it.each([
    ['suspended', { status: 'SUSPENDED' } as const, 'TENANT_SUSPENDED'],
    ['being removed', { status: 'DELETING' } as const, 'TENANT_SUSPENDED'],
    ['gone', null, 'TENANT_INVALID'],
  ])('ends with a typed error at the first event after its tenant is %s', async (_what, changes, code) => {
    const { clock, source, api } = await startApi();
    const results = api.stream(QUERY);
    source.events.push(delta(1));
    expect((await results.next()).value).toEqual(shown(1));

    source.change(changes);
    await clock.advance(TENANT_CACHE_MS);
    source.events.push(delta(2));
    source.events.push(delta(3));
    const refused = (await results.next()).value;
    expect([codes(refused), refused?.data]).toEqual([[code], null]);
    expect(await results.next()).toEqual({ done: true, value: undefined });
    expect(source.left()).toBe(1);
  });

  it('goes on for an operator who acts in a suspended tenant', async () => {
    const operator: Principal = { ...principalOf('PLATFORM_OPERATOR'), tenantId: null };
    const { source } = await startApi();
    source.change({ status: 'SUSPENDED' });
    const context = { namedTenant: OWN } as unknown as RequestContext;
    await expect(source.bindTenant(context, operator)).resolves.toMatchObject({ tenant: { status: 'SUSPENDED' } });
  });

  it('is bound anew for every event: nothing is answered from what an earlier event read', async () => {
    const { source, api } = await startApi();
    const results = api.stream(QUERY);
    for (const sequence of [1, 2, 3]) {
      source.events.push(delta(sequence));
      expect((await results.next()).value).toEqual(shown(sequence));
    }
    expect(source.bound()).toBe(4); // to subscribe, and for each event
    await results.return?.();
  });

  it('is told once that its token has ended, by the code UNAUTHENTICATED, and ends', expectToldOnce);

  it.each([1, 2])(
    'is told of the end of its token while nothing happens, completes, and then its socket is closed with 4403 (%i on it)',
    async (count) => {
      const expiresAt = createTestClock().now() + 60_000;
      const { clock, source, api } = await startApi({ principal: principalOf('MEMBER', expiresAt) });
      const socket = await openSocket(api.wsUrl);
      await socket.init({ authorization: 'Bearer anything' });
      const ids = Array.from({ length: count }, (_, index) => `operation ${index}`);
      for (const id of ids) socket.subscribe(id, QUERY);
      while (source.bound() < count) await settle();
      // First by itself: a refusal that were told again and again would hold the whole process.
      await expectToldOnce();

      await clock.advance(60_000);
      expect(await socket.closed).toMatchObject({ code: 4403 });
      const told: string[] = [];
      for (let left = 2 * count; left > 0; left--) {
        const { id, type, payload } = await socket.next();
        told.push([id, type, ...(codes(payload) ?? [])].join(' '));
      }
      expect(told.sort()).toEqual(ids.flatMap((id) => [`${id} complete`, `${id} next UNAUTHENTICATED`]));
      expect(source.left()).toBe(1); // all of them read the one queue
    },
  );
});

/** Credentials that are never withdrawn, and so end with their time alone. */
function renewedBy(clock: TestClock) {
  const standing = createStanding({
    rolesNow: {
      SESSION: ({ roles }) => Promise.resolve(roles),
      API_KEY: () => Promise.resolve(null),
      EXTERNAL: () => Promise.resolve(null),
    },
    clock,
  });
  const tokens = { verify: () => Promise.reject(new Error('not used')) };
  return createContexts({
    tokens,
    apiKeys: { principalOf: tokens.verify },
    standing,
    checkOrigin: () => Promise.resolve(),
    agents: createAgentCatalogue([]),
  }).renewed;
}

/** A socket with one subscription to which nothing is sent. */
async function openIdle() {
  const opened = await startApi();
  const socket = await openSocket(opened.api.wsUrl);
  onTestFinished(() => socket.socket.terminate());
  await socket.init({ authorization: 'Bearer anything' });
  socket.subscribe('idle', QUERY);
  while (opened.source.bound() === 0) await settle();
  return { ...opened, socket };
}

describe('a subscription to which nothing is sent', () => {
  it.each([
    ['withdrawn', null],
    ['of other roles', ['TENANT_ADMIN'] as const],
    ['of no role any more', [] as const],
  ])(
    'is told within 30 s that its credential is %s, and completes; then its socket is closed with 4403',
    async (_what, roles) => {
      const { clock, source, credential, socket } = await openIdle();
      await clock.advance(24_000); // what is known is as old as it can be when things change
      credential.roles = roles;
      await clock.advance(30_000);
      expect(await socket.closed).toMatchObject({ code: 4403 });
      const told = [await socket.next(), await socket.next()];
      expect(told.map(({ type, payload }) => [type, codes(payload)])).toEqual([
        ['next', ['UNAUTHENTICATED']],
        ['complete', undefined],
      ]);
      expect(source.left()).toBe(1);
    },
  );

  it.each([
    ['suspended', { status: 'SUSPENDED' } as const, 'TENANT_SUSPENDED'],
    ['gone', null, 'TENANT_INVALID'],
  ])(
    'is told within 30 s that its tenant is %s, and completes; its socket stays, for there is no fresh credential to come back with',
    async (_what, changes, code) => {
      const { clock, source, socket } = await openIdle();
      await clock.advance(24_000);
      source.change(changes);
      await clock.advance(30_000);
      const told = [await socket.next(), await socket.next()];
      expect(told.map(({ type, payload }) => [type, codes(payload)])).toEqual([
        ['next', [code]],
        ['complete', undefined],
      ]);
      expect(source.left()).toBe(1);
      socket.send({ id: 'who', type: 'subscribe', payload: { query: '{ viewer { name } }' } });
      expect(await socket.next()).toMatchObject({ id: 'who', payload: { data: { viewer: { name: 'Ada' } } } });
    },
  );

  it('goes on while the store is away, and ends once that says so', async () => {
    const { clock, source, credential, socket } = await openIdle();
    Object.assign(credential, { roles: null, failing: true });
    await clock.advance(120_000);
    expect(source.left()).toBe(0);
    credential.failing = false;
    await clock.advance(5_000);
    expect(await socket.closed).toMatchObject({ code: 4403 });
    expect(codes((await socket.next()).payload)).toEqual(['UNAUTHENTICATED']);
  });

  it('costs one look at the store in 25 s, however many there are and however much is asked beside them', async () => {
    const { clock, source, credential, socket } = await openIdle();
    for (const id of ['a', 'b', 'c']) socket.subscribe(id, QUERY);
    while (source.bound() < 4) await settle();
    expect(credential.reads).toBe(1);
    for (let second = 0; second < 100; second += 2) {
      socket.send({ id: `who ${second}`, type: 'subscribe', payload: { query: '{ viewer { name } }' } });
      await clock.advance(second === 98 ? 1_999 : 2_000);
    }
    expect(credential.reads).toBe(4);
  });
});

const contextOf = (principal: Principal): RequestContext => ({
  requestId: 'request-1',
  identity: { principal, fault: null },
  namedTenant: null,
  origin: null,
  ipAddress: null,
  userAgent: null,
  event: false,
  bill: null,
  signal: new AbortController().signal,
  agents: createAgentCatalogue([]),
});

const findDocument: FindDocument = ({ text }) =>
  Promise.resolve({ text, document: null, published: null, tolerated: null });

/** A stream that is refused while it waits tells its reader why, once, and ends. */
async function expectToldOnce() {
  const clock = createTestClock();
  const { log } = captureLog();
  const schema = createSchema({} as ContextBinder);
  const operations = createStreamedOperations({
    transport: 'ws',
    execution: createExecution({ schema, introspection: false, ...testConfig().operationLimits, log, clock }),
    subscriptions: createSubscriptionCounts(testConfig().operationLimits.subscriptions),
    clock,
    findDocument,
    operationEnded: createOperationLog(log),
    renewed: renewedBy(clock),
  });
  const ends: string[] = [];
  const stream = createEventStream(
    createEventQueue<unknown>({ onEnd: () => ends.push('source') }),
    () => ({ data: {} }),
    () => ends.push('stream'),
  );
  const waiting = stream.next();
  stream.refuse(new AppError('UNAUTHENTICATED', 'The access token is not valid, or has expired.'));
  const { value } = await waiting;
  const operation = await operations.prepare({ query: QUERY }, contextOf(principalOf('MEMBER')), () => {});
  if (!('contextValue' in operation)) throw new Error('the subscription was not understood');
  expect(codes(operations.shown(value!, operation) as never)).toEqual(['UNAUTHENTICATED']);
  await expect(stream.next()).resolves.toEqual({ value: undefined, done: true });
  expect(ends).toEqual(['source', 'stream']);
}

describe('the guard before every event, without the timer of the socket', () => {
  async function subscribe(clock: TestClock, expiresAt: number) {
    const source = createSource(clock);
    const binder = { audit: () => {}, bindTenant: source.bindTenant } as unknown as ContextBinder;
    const { log } = captureLog();
    const operations = createStreamedOperations({
      transport: 'ws',
      execution: createExecution({
        ...{ schema: createSchema(binder), introspection: false, log, clock },
        ...testConfig().operationLimits,
      }),
      subscriptions: createSubscriptionCounts(testConfig().operationLimits.subscriptions),
      clock,
      findDocument,
      operationEnded: createOperationLog(log),
      renewed: renewedBy(clock),
    });
    const operation = await operations.prepare({ query: QUERY }, contextOf(principalOf('MEMBER', expiresAt)), () => {});
    if (!('contextValue' in operation)) throw new Error('the subscription was not understood');
    const results = await operations.subscribe(operation);
    return { source, operations, operation, results };
  }

  it('refuses an event after the end of the token, and ends', async () => {
    const clock = createTestClock();
    const { source, operations, operation, results } = await subscribe(clock, clock.now() + 1_000);
    const stream = results as EventStream;
    source.events.push(delta(1));
    await expect(stream.next()).resolves.toEqual({ value: shown(1), done: false });

    await clock.advance(1_000);
    source.events.push(delta(2));
    const { value } = await stream.next();
    expect(codes(operations.shown(value!, operation) as never)).toEqual(['UNAUTHENTICATED']);
    expect(value?.data).toBeNull();
    await expect(stream.next()).resolves.toEqual({ value: undefined, done: true });
    expect(source.left()).toBe(1);
  });

  it('opens no stream with a token that has ended: the source is never asked', async () => {
    const clock = createTestClock();
    const { source, operations, operation, results } = await subscribe(clock, clock.now());
    expect(Symbol.asyncIterator in results).toBe(false);
    expect(codes(operations.shown(results as never, operation) as never)).toEqual(['UNAUTHENTICATED']);
    expect(source.bound()).toBe(0);
  });
});

describe('the whole product', () => {
  it('cuts off a tenant that is suspended while an answer streams; its operator still reads, and it may ask who it is', async () => {
    const clock = createTestClock();
    /** Moves the time forward until this is settled. */
    const until = async <T>(promise: Promise<T>): Promise<T> => {
      let settled = false;
      const done = () => (settled = true);
      promise.then(done, done);
      for (let seconds = 0; !settled && seconds < 300; seconds++) await clock.advance(1_000);
      return promise;
    };
    const storage = await startOwnStorage();
    onTestFinished(() => storage.close());
    const world = await startWorld({
      clock,
      config: { ...storage.config, bedrock: { kind: 'emulated', chunksPerSecond: 1 }, shutdownGraceMs: 0 },
    });
    onTestFinished(() => until(world.stop()));
    const { member } = world.acme;
    const conversationId = await member.createConversation();
    const turn = await startTurn(member, conversationId, 'What about refunds? [[emulate chunks=500]]');

    const events = follow(member, turn.answerId);
    await until(events.next());
    await suspend(storage.config.storage.endpoint, world.config.tablePrefix, world.config.region);
    const rest = async () => {
      for await (const _ of events);
    };
    await expect(until(rest())).rejects.toThrow('TENANT_SUSPENDED');

    const title = `query($id: ID!) { conversation(id: $id) { title } }`;
    expect((await member.run(title, { id: conversationId })).code).toBe('TENANT_SUSPENDED');
    expect((await member.run('{ viewer { tenant { status } } }')).data).toEqual({
      viewer: { tenant: { status: 'SUSPENDED' } },
    });
    const operator = world.operator.with({ 'x-tenant-id': 'acme' });
    expect((await operator.run(title, { id: conversationId })).data.conversation).toEqual({ title: 'A conversation' });
  });
});

/** What an operation to suspend tenants will do: the product has none yet. */
async function suspend(endpoint: string, tablePrefix: string, region: string) {
  const client = new DynamoDBClient({ endpoint, region });
  await DynamoDBDocumentClient.from(client).send(
    new UpdateCommand({
      TableName: `${tablePrefix}app`,
      Key: { PK: 'T#acme#CFG', SK: 'CFG' },
      UpdateExpression: 'SET #status = :suspended',
      ConditionExpression: 'attribute_exists(PK)',
      ExpressionAttributeNames: { '#status': 'status' },
      ExpressionAttributeValues: { ':suspended': 'SUSPENDED' },
    }),
  );
  client.destroy();
}
