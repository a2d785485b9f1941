import { processEnvironment } from '../config.ts';

/** An error as the API tells it, with its code. */
export class Refusal extends Error {}

interface Answer<T> {
  readonly data?: T | null;
  readonly errors?: readonly { readonly message: string; readonly extensions?: { readonly code?: string } }[];
}

async function ask<T>(url: string, token: string | null, query: string, variables: object): Promise<T> {
  const response = await fetch(new URL('/graphql', url), {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...(token !== null && { authorization: `Bearer ${token}` }) },
    body: JSON.stringify({ query, variables }),
  });
  const { data, errors = [] } = (await response.json()) as Answer<T>;
  const [error] = errors;
  if (error || !data)
    throw new Refusal(`${error?.extensions?.code ?? response.status}: ${error?.message ?? 'no answer'}`);
  return data;
}

const SIGN_IN = `mutation SignIn($input: SignInInput!) { signIn(input: $input) { accessToken } }`;

/**
 * A running installation, as an administrator of a tenant: with the access token in `API_TOKEN`, or by signing in with `API_TENANT`,
 * `API_EMAIL` and `API_PASSWORD`. Credentials are taken from the environment only: arguments are shown in the list of processes.
 */
export async function openInstallation(url: string) {
  const { API_TOKEN, API_TENANT, API_EMAIL, API_PASSWORD } = processEnvironment();
  async function signIn(): Promise<string> {
    if (!API_TENANT || !API_EMAIL || !API_PASSWORD)
      throw new Error('Set API_TOKEN, or API_TENANT, API_EMAIL and API_PASSWORD.');
    const input = { tenant: API_TENANT, email: API_EMAIL, password: API_PASSWORD };
    return (await ask<{ signIn: { accessToken: string } }>(url, null, SIGN_IN, { input })).signIn.accessToken;
  }
  const token = API_TOKEN ?? (await signIn());
  return <T>(query: string, variables: object = {}) => ask<T>(url, token, query, variables);
}

/** The published operations of its tenant that have not ended. */
export async function publishedAt(installation: Awaited<ReturnType<typeof openInstallation>>) {
  const { persistedOperations } = await installation<{
    persistedOperations: readonly { id: string; body: string; sunsetAt: string | null }[];
  }>(`query PublishedOperations { persistedOperations { id body sunsetAt } }`);
  const open = persistedOperations.filter(({ sunsetAt }) => sunsetAt === null || Date.parse(sunsetAt) > Date.now());
  return new Map(open.map(({ id, body }) => [id, body]));
}

/** Runs a command: what goes wrong is said in one line, without a stack, and ends it with 1. */
export function run(command: () => Promise<void>): void {
  command().catch((error: unknown) => {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 1;
  });
}
