import { Client, fetchExchange, subscriptionExchange } from '@urql/core';
import { createClient } from 'graphql-ws';
import { afterEach, beforeEach, it } from 'vitest';
import WebSocket from 'ws';
import { walkConversation, type WalkingClient } from '../support/conversation-walk.ts';
import { startWorld, type World } from '../support/world.ts';

let world: World;
beforeEach(async () => {
  world = await startWorld();
});
afterEach(() => world.stop());

/** urql as an application sets it up: queries and mutations over HTTP, subscriptions over a socket. */
const overSocket = (token: string | null) => connect(token, false);
/** The same without a socket: urql reads subscriptions as event streams. */
const overEvents = (token: string | null) => connect(token, true);

function connect(token: string | null, fetchSubscriptions: boolean): WalkingClient {
  const headers: Record<string, string> = token === null ? {} : { authorization: `Bearer ${token}` };
  const socket = createClient({ url: world.wsUrl, webSocketImpl: WebSocket, connectionParams: () => headers });
  const client = new Client({
    url: `${world.url}/graphql`,
    preferGetMethod: false,
    fetchOptions: { headers },
    fetchSubscriptions,
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

it('urql runs the whole conversation', () => walkConversation(overSocket, world.config.demoPassword));

it('urql runs the whole conversation without a socket', () => walkConversation(overEvents, world.config.demoPassword));
