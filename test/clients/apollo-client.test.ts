import { ApolloClient, ApolloLink, gql, HttpLink, InMemoryCache } from '@apollo/client';
import { GraphQLWsLink } from '@apollo/client/link/subscriptions';
import { OperationTypeNode } from 'graphql';
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

/** Apollo Client as an application sets it up: queries and mutations over HTTP, subscriptions over a socket. */
function connect(token: string | null): WalkingClient {
  const headers: Record<string, string> = token === null ? {} : { authorization: `Bearer ${token}` };
  const socket = createClient({ url: world.wsUrl, webSocketImpl: WebSocket, connectionParams: () => headers });
  const link = ApolloLink.split(
    ({ operationType }) => operationType === OperationTypeNode.SUBSCRIPTION,
    new GraphQLWsLink(socket),
    new HttpLink({ uri: `${world.url}/graphql`, headers }),
  );
  const possibleTypes = {
    MessageEvent: ['MessageDelta', 'MessageCitation', 'MessageCompleted', 'MessageFailed', 'MessageCancelled'],
  };
  const client = new ApolloClient({ link, cache: new InMemoryCache({ possibleTypes }) });
  return {
    async run(query, variables) {
      const document = gql(query);
      const { data } = query.startsWith('query')
        ? await client.query({ query: document, variables })
        : await client.mutate({ mutation: document, variables });
      return data;
    },
    follow: (subscription, variables, onData) =>
      new Promise((resolve, reject) => {
        client.subscribe({ query: gql(subscription), variables, fetchPolicy: 'no-cache' }).subscribe({
          next: ({ data, error }) => (error ? reject(new Error(error.message)) : onData(data as never)),
          error: (error: Error) => reject(error),
          complete: resolve,
        });
      }),
    async close() {
      client.stop();
      await socket.dispose();
    },
  };
}

it('Apollo Client runs the whole conversation', () => walkConversation(connect, world.config.demoPassword));
