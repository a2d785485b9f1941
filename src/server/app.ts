import type { Generations } from '../conversations/generation.ts';
import type { AgentCatalogue } from '../agents/catalogue.ts';
import type { AccessTokens } from '../auth/ports.ts';
import type { ContextBinder } from '../context.ts';
import type { Clock } from '../kernel/clock.ts';
import { createApollo } from './apollo.ts';
import { createHttpServer } from './http.ts';
import type { Logger } from './log.ts';
import { createContextBuilder } from './request-context.ts';
import { createSchema } from './schema.ts';
import { createWsServer } from './ws.ts';

export interface AppOptions {
  readonly host: string;
  readonly port: number;
  readonly corsOrigins: readonly string[];
  readonly explorer: boolean;
  readonly introspection: boolean;
  readonly shutdownGraceMs: number;
  readonly tokens: Pick<AccessTokens, 'verify'>;
  readonly jwks: object;
  readonly agents: AgentCatalogue;
  readonly binder: ContextBinder;
  readonly generations: Generations;
  /** Work of its own that begins with the server; what `start` returns ends it, and resolves when nothing of it is under way. */
  readonly background: readonly { start(): () => Promise<void> }[];
  readonly ping: () => Promise<void>;
  readonly log: Logger;
  readonly clock: Clock;
}

export interface App {
  /** Where it listens, e.g. `http://127.0.0.1:4000`. */
  readonly url: string;
  /** Lets running turns finish, tells sockets to come back later, and stops. */
  stop(): Promise<void>;
}

/** How long sockets may take to say goodbye. */
const SOCKET_GRACE_MS = 2_000;

/** Serves the API: HTTP and WebSockets on one port, and what goes on in the background. @throws if the schema breaks the isolation policy. */
export async function startApp(options: AppOptions): Promise<App> {
  const { log, clock, generations, background } = options;
  const schema = createSchema(options.binder);
  const contextOf = createContextBuilder(options.tokens, options.agents);
  const apollo = createApollo({ schema, introspection: options.introspection, log, clock });
  await apollo.start();

  let draining = false;
  const http = await createHttpServer({
    ...options,
    apollo,
    contextOf,
    async checkReady() {
      if (draining) throw new Error('draining');
      await options.ping();
    },
  });
  const ws = createWsServer({
    server: http.server,
    schema,
    introspection: options.introspection,
    contextOf,
    log,
    clock,
  });
  const url = await http.listen({ host: options.host, port: options.port });
  const stops = background.map((work) => work.start());

  return {
    url,
    async stop() {
      draining = true;
      const ended = Promise.all(stops.map((stop) => stop()));
      // Readers stay connected meanwhile: they are to see their answers end.
      await generations.drain(options.shutdownGraceMs);
      await ws.close(SOCKET_GRACE_MS);
      // A connection that never finished its request would keep the server from closing for ever.
      const cancel = clock.after(SOCKET_GRACE_MS, () => http.server.closeAllConnections());
      await http.close();
      cancel();
      await generations.drain(0); // a turn that began while the sockets closed
      await apollo.stop();
      await ended;
    },
  };
}
