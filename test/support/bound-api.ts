import { createClient } from 'graphql-ws';
import WebSocket from 'ws';
import { createAgentCatalogue } from '../../src/agents/catalogue.ts';
import { createStanding, remembered, type RolesNow } from '../../src/auth/standing.ts';
import type { ContextBinder, RequestContext, TenantServices } from '../../src/context.ts';
import { systemClock, type Clock } from '../../src/kernel/clock.ts';
import { demoAgentDefinitions } from '../../src/local/demo-data.ts';
import { startApp } from '../../src/server/app.ts';
import { createMetrics } from '../../src/server/metrics.ts';
import { apiKeyRefused } from '../../src/tenancy/api-key.ts';
import type { Principal, Role } from '../../src/tenancy/principal.ts';
import { parseTenantId, type TenantId } from '../../src/tenancy/tenant-id.ts';
import { UNLIMITED, type Tenant } from '../../src/tenants/model.ts';
import { createExportLinks } from '../../src/exports/links.ts';
import { captureLog } from './log-capture.ts';
import { testConfig } from './world.ts';

const tenantId = (slug: string): TenantId => parseTenantId(slug)!;

export const OWN = tenantId('acme');
export const FOREIGN = tenantId('globex');

/** Somebody of `OWN` whose token never ends, unless the test says when. */
export const principalOf = (role: Role = 'TENANT_ADMIN', expiresAt = Infinity): Principal => ({
  userId: 'user-01ARZ3NDEKTSV4RRFFQ69G5FAV',
  name: 'Ada',
  email: 'ada@acme.example',
  roles: [role],
  tenantId: OWN,
  credential: { kind: 'SESSION', sessionId: '01ARZ3NDEKTSV4RRFFQ69G5FAV' },
  expiresAt,
});

export const tenantOf = (id: TenantId): Tenant => ({
  id,
  name: id.toUpperCase(),
  status: 'ACTIVE',
  agentIds: ['support'],
  knowledgeBaseIds: [],
  limits: UNLIMITED,
  features: [],
  conversationRetentionDays: null,
  alertPercentages: null,
  allowedOrigins: [],
  version: 1,
  createdAt: '2026-11-20T12:00:00.000Z',
  updatedAt: '2026-11-20T12:00:00.000Z',
});

export interface BoundApiOptions {
  /** The services that a request gets, however wrong they are. */
  readonly bindTenant: (context: RequestContext, principal: Principal) => Promise<TenantServices>;
  readonly principal?: Principal;
  /** What the caller's credential gives, as the store would say; what it says it does, unless the test says otherwise. */
  readonly rolesNow?: RolesNow<'SESSION'>;
  readonly clock?: Clock;
  readonly trustedProxies?: readonly string[];
}

type Result = {
  readonly data?: Record<string, unknown> | null;
  readonly errors?: readonly { readonly message: string; readonly extensions: Record<string, unknown> }[];
};

/**
 * The product's own servers, schema and directives before services of the test's: they can lie, and say what no store would.
 * Every caller is the one principal.
 */
export async function startBoundApi({
  bindTenant,
  principal = principalOf(),
  rolesNow = ({ roles }) => Promise.resolve(roles),
  clock = systemClock,
  trustedProxies = [],
}: BoundApiOptions) {
  const captured = captureLog();
  const binder: ContextBinder = {
    auth: {
      signIn: () => Promise.reject(new Error('nobody signs in here')),
      refresh: () => Promise.reject(new Error('nobody signs in here')),
      signOut: () => Promise.resolve(null),
      signOutEverywhere: () => Promise.resolve(null),
    },
    audit: () => {},
    passwords: {
      accept: () => Promise.reject(new Error('nobody signs in here')),
      change: () => Promise.reject(new Error('nobody signs in here')),
    },
    platform: {
      createTenant: () => Promise.reject(new Error('no operator is here')),
      setStatus: () => Promise.reject(new Error('no operator is here')),
      removal: () => Promise.reject(new Error('no operator is here')),
      tenants: () => Promise.reject(new Error('no operator is here')),
    },
    tenantOf: () => Promise.resolve(tenantOf(OWN)),
    bindTenant,
  };
  const app = await startApp({
    host: '127.0.0.1',
    port: 0,
    adminHost: '127.0.0.1',
    adminPort: 0,
    socketBacklogBytes: 4_194_304,
    corsOrigins: [],
    tls: null,
    trustedProxies,
    explorer: false,
    demoAccounts: [],
    introspection: false,
    operationLimits: testConfig().operationLimits,
    shutdownGraceMs: 0,
    tokens: { verify: () => Promise.resolve(principal) },
    operationUsage: { record: () => {} },
    operationGate: { find: () => Promise.resolve(null), strictness: () => Promise.resolve('FREE') },
    apiKeys: { principalOf: () => Promise.reject(apiKeyRefused()), noteUse: () => {} },
    standing: createStanding({
      rolesNow: {
        SESSION: remembered(rolesNow, clock),
        ...{ API_KEY: () => Promise.resolve(null), EXTERNAL: () => Promise.resolve(null) },
      },
      clock,
    }),
    jwks: { keys: [] },
    agents: createAgentCatalogue(demoAgentDefinitions),
    binder,
    exportLinks: createExportLinks('a secret of the tests, long enough for it', clock),
    generations: {
      enter: () => ({ turnToRun: () => Promise.resolve(), position: () => 0, leave: () => {} }),
      start: () => {},
      cancel: () => {},
      settled: () => Promise.resolve(),
      drain: () => Promise.resolve(),
      count: () => 0,
      accepting: () => true,
    },
    background: [],
    ping: () => Promise.resolve(),
    metrics: createMetrics({ clock, log: captured.log }),
    log: captured.log,
    clock,
  });
  const authorization = 'Bearer anything';
  const client = createClient({
    url: `${app.url.replace('http', 'ws')}/graphql`,
    webSocketImpl: WebSocket,
    retryAttempts: 0,
    connectionParams: { authorization },
  });

  return {
    client,
    logLines: captured.lines,
    url: app.url,
    wsUrl: `${app.url.replace('http', 'ws')}/graphql`,
    async run(query: string, variables: Record<string, unknown> = {}): Promise<Result> {
      const response = await fetch(`${app.url}/graphql`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', authorization },
        body: JSON.stringify({ query, variables }),
      });
      return (await response.json()) as Result;
    },
    stream: (query: string, variables: Record<string, unknown> = {}) =>
      client.iterate({ query, variables }) as AsyncIterableIterator<Result>,
    async stop() {
      await client.dispose();
      await app.stop();
    },
  };
}
