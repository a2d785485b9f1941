import { makeExecutableSchema } from '@graphql-tools/schema';
import { createAgentCatalogue } from '../../src/agents/catalogue.ts';
import type { RequestContext } from '../../src/context.ts';
import { createApollo } from '../../src/server/apollo.ts';
import { createHttpServer } from '../../src/server/http.ts';
import { createContextBuilder } from '../../src/server/request-context.ts';
import { createOperationLog } from '../../src/server/log.ts';
import { createWsServer } from '../../src/server/ws.ts';
import { systemClock, type Clock } from '../../src/kernel/clock.ts';
import { AppError } from '../../src/kernel/errors.ts';
import { captureLog } from './log-capture.ts';

export interface SmallApiOptions {
  readonly typeDefs: string;
  readonly resolvers: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
  readonly checkReady?: () => Promise<void>;
  readonly clock?: Clock;
  readonly corsOrigins?: readonly string[];
  readonly socketBacklogBytes?: number;
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
  corsOrigins = [],
  socketBacklogBytes = 4_194_304,
}: SmallApiOptions) {
  const { log, lines: logLines, text: logText } = captureLog();
  const schema = makeExecutableSchema<RequestContext>({ typeDefs, resolvers });
  const tokens = { verify: () => Promise.reject(new AppError('UNAUTHENTICATED', 'Nobody is known here.')) };
  const agents = createAgentCatalogue([]);
  const contextOf = createContextBuilder(tokens, agents);
  const execution = { schema, introspection: false, log, clock, operationEnded: createOperationLog(log) };
  const apollo = createApollo(execution);
  await apollo.start();
  const http = await createHttpServer({
    apollo,
    contextOf,
    log,
    corsOrigins,
    explorer: false,
    checkReady,
    jwks: { keys: [] },
  });
  const ws = createWsServer({ ...execution, server: http.server, contextOf, audit: () => {}, socketBacklogBytes });
  const url = await http.listen({ host: '127.0.0.1', port: 0 });
  return {
    url,
    wsUrl: `${url.replace('http', 'ws')}/graphql`,
    logLines,
    logText,
    sockets: () => ws.count(),
    async stop() {
      await ws.close(1_000);
      await http.close();
      await apollo.stop();
    },
  };
}
