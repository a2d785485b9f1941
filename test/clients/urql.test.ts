import { Client, fetchExchange, subscriptionExchange } from '@urql/core';
import { createClient } from 'graphql-ws';
import { afterAll, beforeAll, it } from 'vitest';
import WebSocket from 'ws';
import { walkConversation, type WalkingClient } from '../support/conversation-walk.ts';
import { startWorld, type World } from '../support/world.ts';

let world: World;
beforeAll(async () => {
  world = await startWorld();
});
afterAll(() => world.stop());

/** urql as an application sets it up: queries and mutations over HTTP, subscriptions over a socket. */
function connect(token: string | null): WalkingClient {
  const headers: Record<string, string> = token === null ? {} : { authorization: `Bearer ${token}` };
  const socket = createClient({ url: world.wsUrl, webSocketImpl: WebSocket, connectionParams: () => headers });
  const client = new Client({
    url: `${world.url}/graphql`,
    preferGetMethod: false,
    fetchOptions: { headers },
    exchanges: [
      fetchExchange,
      subscriptionExchange({
        forwardSubscription: ({ query = '', variables }) => ({
          subscribe: (sink) => ({
            unsubscribe: socket.subscribe({ query, variables: variables as Record<string, unknown> }, sink as never),
          }),
        }),
      }),
    ],
  });
  return {
    async run(query, variables) {
      const { data, error } = await (
        query.startsWith('query') ? client.query(query, variables) : client.mutation(query, variables)
      ).toPromise();
      if (error) throw error;
      return data as unknown;
    },
    follow: (subscription, variables, onData) =>
      new Promise((resolve, reject) => {
        client.subscription(subscription, variables).subscribe(({ data, error, hasNext }) => {
          if (error) return reject(error);
          if (data && hasNext) onData(data as never);
          if (!hasNext) resolve();
        });
      }),
    close: () => socket.dispose(),
  };
}

it('urql runs the whole conversation', () => walkConversation(connect, world.config.demoPassword));
