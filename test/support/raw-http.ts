import { request } from 'node:http';

/** An answer over HTTP as it came. */
export interface RawAnswer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  // What a body holds is what tests are there to find out.
  // eslint-disable-next-line @typescript-eslint/no-explicit-any
  readonly body: any;
  /** The first error's code. */
  readonly code: string | undefined;
}

export interface RawRequest {
  readonly path?: string;
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Sent as it is; anything but a string or bytes as JSON. */
  readonly body?: unknown;
}

export const GRAPHQL_RESPONSE = 'application/graphql-response+json';

async function answerOf(response: Response): Promise<RawAnswer> {
  const text = await response.text();
  let body: unknown = null;
  try {
    body = JSON.parse(text);
  } catch {
    // not every answer is JSON
  }
  const { errors } = (body ?? {}) as { errors?: readonly { extensions?: { code?: string } }[] };
  const code = Array.isArray(errors) ? errors[0]?.extensions?.code : undefined;
  return { status: response.status, headers: response.headers, text, body, code };
}

/** Sends requests of any shape to one server: the JSON content type is given unless the headers say otherwise (`''`: none). */
export function rawHttp(url: string) {
  async function send({ path = '/graphql', method = 'POST', headers = {}, body }: RawRequest): Promise<RawAnswer> {
    const all = new Headers({ ...(body !== undefined && { 'content-type': 'application/json' }), ...headers });
    if (all.get('content-type') === '') all.delete('content-type');
    // A string would bring a content type of its own.
    const text = typeof body === 'string' ? body : JSON.stringify(body);
    const bytes = body === undefined ? null : Buffer.isBuffer(body) ? body : Buffer.from(text);
    return answerOf(await fetch(url + path, { method, headers: all, body: bytes, redirect: 'manual' }));
  }

  return {
    send,
    post: (query: string, variables: object = {}, headers: Readonly<Record<string, string>> = {}) =>
      send({ body: { query, variables }, headers }),
    get: (path: string, headers: Readonly<Record<string, string>> = {}) => send({ method: 'GET', path, headers }),
  };
}

/** GET with the path exactly as given: `fetch` would tidy up its dots. */
export const getPath = (url: string, path: string): Promise<{ readonly status: number; readonly text: string }> =>
  new Promise((resolve, reject) => {
    const { hostname, port } = new URL(url);
    const sent = request({ hostname, port, path, agent: false }, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => (text += chunk));
      response.on('end', () => resolve({ status: response.statusCode ?? 0, text }));
    });
    sent.on('error', reject);
    sent.end();
  });
