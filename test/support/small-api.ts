import { makeExecutableSchema } from '@graphql-tools/schema';
import { createAgentCatalogue } from '../../src/agents/catalogue.ts';
import type { Config } from '../../src/config.ts';
import type { RequestContext } from '../../src/context.ts';
import { createApollo } from '../../src/server/apollo.ts';
import type { Patience, Tls } from '../../src/server/connections.ts';
import { createHttpServer } from '../../src/server/http.ts';
import { createContexts } from '../../src/server/request-context.ts';
import { createDocumentFinder } from '../../src/server/operations/documents.ts';
import { createExecution } from '../../src/server/operations/execution.ts';
import { createSocketCounts } from '../../src/server/operations/socket-limits.ts';
import { createSubscriptionCounts } from '../../src/server/operations/subscription-limits.ts';
import { createOperationLog } from '../../src/server/log.ts';
import { createSseServer } from '../../src/server/sse.ts';
import { createWsServer } from '../../src/server/ws.ts';
import { systemClock, type Clock } from '../../src/kernel/clock.ts';
import { AppError } from '../../src/kernel/errors.ts';
import { apiKeyRefused } from '../../src/tenancy/api-key.ts';
import { captureLog } from './log-capture.ts';
import { testConfig } from './world.ts';

export interface SmallApiOptions {
  readonly typeDefs: string;
  readonly resolvers: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
  readonly checkReady?: () => Promise<void>;
  readonly clock?: Clock;
  readonly tls?: Tls | null;
  readonly patience?: Patience;
  readonly socketBacklogBytes?: number;
  readonly operationLimits?: Config['operationLimits'];
}

/**
 * The product's own HTTP and WebSocket servers before a schema of the test's, which can fail in ways the product has no way to
 * be asked for. Nobody is signed in.
 */
export async function startSmallApi({
  typeDefs,
  resolvers,
  checkReady = () => Promise.resolve(),
  clock = systemClock,
  tls = null,
  patience,
  socketBacklogBytes = 4_194_304,
  operationLimits = testConfig().operationLimits,
}: SmallApiOptions) {
  const { log, lines: logLines, text: logText } = captureLog();
  const schema = makeExecutableSchema<RequestContext>({ typeDefs, resolvers });
  const tokens = { verify: () => Promise.reject(new AppError('UNAUTHENTICATED', 'Nobody is known here.')) };
  const apiKeys = { principalOf: () => Promise.reject(apiKeyRefused()) };
  const agents = createAgentCatalogue([]);
  const standing = { check: () => Promise.resolve() };
  const { contextOf, renewed } = createContexts({
    tokens,
    apiKeys,
    standing,
    checkOrigin: () => Promise.resolve(),
    agents,
  });
  const execution = createExecution({ schema, introspection: false, ...operationLimits, log, clock });
  const findDocument = createDocumentFinder({
    gate: { find: () => Promise.resolve(null), strictness: () => Promise.resolve('FREE') },
    audit: () => {},
  });
  const account = { execution, findDocument, log, clock, operationEnded: createOperationLog(log) };
  const subscriptions = createSubscriptionCounts(operationLimits.subscriptions);
  const socketCounts = createSocketCounts(operationLimits.sockets);
  const apollo = createApollo(account);
  await apollo.start();
  const sse = createSseServer({ ...account, subscriptions, renewed, contextOf });
  const http = await createHttpServer({
    apollo,
    contextOf,
    sse,
    log,
    tls,
    ...(patience && { patience }),
    trustedProxies: [],
    explorer: false,
    demoAccounts: [],
    checkReady,
    jwks: { keys: [] },
  });
  const ws = createWsServer({
    ...{ ...account, subscriptions, renewed, audit: () => {} },
    ...{ server: http.server, contextOf, socketBacklogBytes, trustedProxies: [], socketCounts },
  });
  const url = await http.listen({ host: '127.0.0.1', port: 0 });
  return {
    url,
    wsUrl: `${url.replace('http', 'ws')}/graphql`,
    logLines,
    logText,
    sockets: () => ws.count(),
    eventStreams: () => sse.count(),
    subscriptions,
    socketCounts,
    server: http.server,
    async stop() {
      await Promise.all([ws.close(1_000), sse.close(1_000)]);
      await http.close();
      await apollo.stop();
    },
  };
}
