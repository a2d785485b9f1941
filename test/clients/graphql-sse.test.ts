import { createClient, type Client } from 'graphql-sse';
import { afterAll, beforeAll, it } from 'vitest';
import { walkConversation, type WalkingClient } from '../support/conversation-walk.ts';
import { startWorld, type World } from '../support/world.ts';

let world: World;
beforeAll(async () => {
  world = await startWorld();
});
afterAll(() => world.stop());

/** Nothing but event streams: every kind of operation goes over one of its own. */
function connect(token: string | null): WalkingClient {
  const client: Client = createClient({
    url: `${world.url}/graphql`,
    ...(token !== null && { headers: { authorization: `Bearer ${token}` } }),
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

it('a bare graphql-sse client runs the whole conversation over event streams', () =>
  walkConversation(connect, world.config.demoPassword));
