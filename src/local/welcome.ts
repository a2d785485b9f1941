import { demoApiKey, PUBLIC_PASSWORD } from './demo-data.ts';

const SIGN_IN = 'mutation($i: SignInInput!) { signIn(input: $i) { accessToken viewer { name tenant { name } } } }';

/**
 * What `npm start` tells the person who started it: where it is, and a first command to copy. The command holds the default
 * password, which is no secret; one that was configured is, and is not shown.
 */
export function welcome(url: string, explorer: boolean): string {
  const input = { tenant: 'acme', email: 'member@acme.example', password: PUBLIC_PASSWORD };
  const body = JSON.stringify({ query: SIGN_IN, variables: { i: input } });
  return `
  GraphQL    ${url}/graphql   (HTTP, and WebSocket by graphql-transport-ws)
${explorer ? `  Explorer   ${url}/explorer\n` : ''}
  Tenants    acme, globex     users admin@<tenant>.example and member@<tenant>.example
  Operator   operator@platform.example, tenant "platform"
  Password   ${PUBLIC_PASSWORD}, unless DEMO_PASSWORD was set when the data folder was made
  Partner    x-api-key: ${demoApiKey('acme', PUBLIC_PASSWORD).text}

  Sign in:

  curl -s ${url}/graphql -H 'content-type: application/json' -d '${body}'

`;
}
