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

/** Nothing but a socket: every kind of operation goes over it. */
function connect(token: string | null): WalkingClient {
  const client = createClient({
    url: world.wsUrl,
    webSocketImpl: WebSocket,
    connectionParams: token === null ? {} : { authorization: `Bearer ${token}` },
  });
  return {
    async run(query, variables) {
      for await (const { data, errors } of client.iterate({ query, variables })) {
        if (errors) throw new Error(errors.map(({ message }) => message).join());
        return data;
      }
      throw new Error('completed without a result');
    },
    async follow(subscription, variables, onData) {
      for await (const { data, errors } of client.iterate({ query: subscription, variables })) {
        if (errors) throw new Error(errors.map(({ message }) => message).join());
        onData(data as never);
      }
    },
    close: () => client.dispose(),
  };
}

it('a bare graphql-ws client runs the whole conversation over one socket', () =>
  walkConversation(connect, world.config.demoPassword));
