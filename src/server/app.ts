import type { FastifyInstance } from 'fastify';
import type { Generations } from '../conversations/generation.ts';
import type { AgentCatalogue } from '../agents/catalogue.ts';
import type { Standing } from '../auth/standing.ts';
import type { ContextBinder } from '../context.ts';
import type { Clock } from '../kernel/clock.ts';
import type { ApiKeyAuthentication } from '../partners/authentication.ts';
import type { OperationUsageRecorder } from '../partners/usage.ts';
import type { OperationGate } from '../partners/running.ts';
import type { ExportLinks } from '../exports/links.ts';
import { createAdminServer } from './admin.ts';
import { createApollo } from './apollo.ts';
import type { Tls } from './connections.ts';
import type { DemoAccount } from './explorer.ts';
import { serveExports } from './exports.ts';
import type { CheckReady } from './health.ts';
import { createHttpServer } from './http.ts';
import { listen } from './listen.ts';
import { createOperationLog, type Logger, type OperationEnded } from './log.ts';
import type { Metrics } from './metrics.ts';
import { createOriginCheck } from './origins.ts';
import { createContexts, type TokenVerifier } from './request-context.ts';
import { createDocumentFinder } from './operations/documents.ts';
import { recordUse } from './operations/partner-usage.ts';
import { createExecution } from './operations/execution.ts';
import type { OperationLimits } from './operations/limits.ts';
import { createSocketCounts } from './operations/socket-limits.ts';
import { createSubscriptionCounts } from './operations/subscription-limits.ts';
import { createSchema } from './schema.ts';
import { createSseServer } from './sse.ts';
import { createWsServer } from './ws.ts';

export interface AppOptions {
  readonly host: string;
  readonly port: number;
  readonly adminHost: string;
  readonly adminPort: number;
  readonly socketBacklogBytes: number;
  readonly corsOrigins: readonly string[];
  readonly tls: Tls | null;
  readonly trustedProxies: readonly string[];
  readonly explorer: boolean;
  readonly demoAccounts: readonly DemoAccount[];
  readonly introspection: boolean;
  readonly operationLimits: OperationLimits;
  readonly shutdownGraceMs: number;
  readonly tokens: TokenVerifier;
  readonly apiKeys: Pick<ApiKeyAuthentication, 'principalOf' | 'noteUse'>;
  readonly operationGate: Pick<OperationGate, 'find' | 'strictness'>;
  readonly operationUsage: Pick<OperationUsageRecorder, 'record'>;
  readonly standing: Standing;
  readonly jwks: object;
  readonly agents: AgentCatalogue;
  readonly binder: ContextBinder;
  readonly exportLinks: ExportLinks;
  readonly generations: Generations;
  /** Work of its own that begins with the server; what `start` returns ends it, and resolves when nothing of it is under way. */
  readonly background: readonly { start(): () => Promise<void> }[];
  readonly ping: () => Promise<void>;
  readonly metrics: Metrics;
  readonly log: Logger;
  readonly clock: Clock;
}

export interface App {
  /** Where it listens, e.g. `http://127.0.0.1:4000`. */
  readonly url: string;
  /** Where metrics and health are, e.g. `http://127.0.0.1:4001`. */
  readonly adminUrl: string;
  /** Lets running turns finish, tells sockets to come back later, and stops. */
  stop(): Promise<void>;
}

/** How long readers may take to say goodbye. */
const READER_GRACE_MS = 2_000;

/**
 * Serves the API: HTTP and WebSockets on one port, metrics and health on another, and what goes on in the background.
 * @throws if the schema breaks the isolation policy, or a port cannot be had.
 */
export async function startApp(options: AppOptions): Promise<App> {
  const { log, clock, generations, background } = options;
  const phase: { now: 'starting' | 'serving' | 'draining' } = { now: 'starting' };
  async function checkReady() {
    if (phase.now !== 'serving') throw new Error(phase.now);
    await options.ping();
  }
  const { http, ws, sse, apollo } = await createApi(options, checkReady);
  const admin = createAdminServer({ metrics: options.metrics, checkReady, log });
  const { url, adminUrl } = await listenAll(options, http, admin);
  phase.now = 'serving';
  const stops = background.map((work) => work.start());

  return {
    url,
    adminUrl,
    async stop() {
      phase.now = 'draining';
      const ended = Promise.all(stops.map((stop) => stop()));
      // Readers stay connected meanwhile: they are to see their answers end.
      await generations.drain(options.shutdownGraceMs);
      await Promise.all([ws.close(READER_GRACE_MS), sse.close(READER_GRACE_MS)]);
      // A connection that never finished its request would keep the server from closing for ever.
      const cancel = clock.after(READER_GRACE_MS, () => http.server.closeAllConnections());
      await http.close();
      cancel();
      await generations.drain(0); // a turn that began while the sockets closed
      await apollo.stop();
      await ended;
      await admin.close(); // last: a stop that takes long can be watched
    },
  };
}

/** What callers meet: GraphQL over HTTP, WebSockets and event streams, with the same schema, contexts and account of operations. */
async function createApi(options: AppOptions, checkReady: CheckReady) {
  const { log, clock, introspection, metrics } = options;
  const schema = createSchema(options.binder);
  const checkOrigin = createOriginCheck({ corsOrigins: options.corsOrigins, tenantOf: options.binder.tenantOf });
  const { contextOf, renewed } = createContexts({ ...options, checkOrigin });
  const logOperation = createOperationLog(log);
  const operationEnded: OperationEnded = (context, operation) => {
    logOperation(context, operation);
    metrics.operation(operation);
    recordUse(options, context, operation);
  };
  const execution = createExecution({ schema, introspection, ...options.operationLimits, log, clock });
  const subscriptions = createSubscriptionCounts(options.operationLimits.subscriptions);
  const findDocument = createDocumentFinder({ gate: options.operationGate, audit: options.binder.audit });
  const account = { execution, findDocument, log, clock, operationEnded };
  const apollo = createApollo(account);
  await apollo.start();
  const streamed = { ...account, subscriptions, renewed, contextOf };
  const sse = createSseServer(streamed);
  const http = await createHttpServer({ ...options, apollo, contextOf, sse, checkReady });
  serveExports(http, { contextOf, renewed, binder: options.binder, links: options.exportLinks, clock, log });
  const { socketBacklogBytes, trustedProxies } = options;
  const ws = createWsServer({
    ...{ ...streamed, audit: options.binder.audit },
    ...{
      server: http.server,
      socketBacklogBytes,
      trustedProxies,
      socketCounts: createSocketCounts(options.operationLimits.sockets),
    },
  });
  metrics.gauge({ name: 'bedrock_graphql_websockets', help: 'Open sockets.', read: () => ws.count() });
  metrics.gauge({ name: 'bedrock_graphql_event_streams', help: 'Open event streams.', read: () => sse.count() });
  return { http, ws, sse, apollo };
}

/** The address of metrics and health comes first: callers are let in when nothing can fail any more. */
async function listenAll(options: AppOptions, http: FastifyInstance, admin: FastifyInstance) {
  try {
    const adminUrl = await listen(admin, { host: options.adminHost, port: options.adminPort }, 'ADMIN_PORT');
    return { adminUrl, url: await listen(http, options, 'PORT') };
  } catch (error) {
    await Promise.all([admin.close(), http.close()]);
    throw error;
  }
}
