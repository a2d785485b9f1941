// Puts the session into what Altair sends. Altair itself, what it stores, and the scripts people write in it only ever see the
// placeholder; the token takes its place as the request leaves for this API, and for nowhere else.

import { ApiError, credential, leave, renew } from './session.js';

/** @typedef {import('./session.js').Session} Session */

/** What stands for the session in the headers of every tab. Another value, or none, is sent as it is. */
export const PLACEHOLDER = 'Bearer SESSION';

/** The session, renewed before it ends for as long as this page is open. */
export class LiveSession {
  /** @type {Promise<void> | null} */
  #renewal = null;

  /** @param {Session} session */
  constructor(session) {
    this.session = session;
    this.#schedule();
  }

  /** The headers of the session's next request: renewed first if it is time, e.g. after the machine slept. @returns {Promise<Record<string, string>>} */
  async headers() {
    if (this.session.renewAt !== null && Date.now() >= this.session.renewAt) await this.#renew();
    const { accessToken, actingIn } = this.session;
    return { ...credential(accessToken), ...(actingIn !== '' && { 'x-tenant-id': actingIn }) };
  }

  #schedule() {
    if (this.session.renewAt === null) return;
    setTimeout(() => void this.#renew(), Math.max(0, this.session.renewAt - Date.now()));
  }

  /** One renewal at a time: a refresh token is good for one use. */
  #renew() {
    this.#renewal ??= renew(this.session)
      .then(
        (session) => {
          this.session = { ...session, actingIn: this.session.actingIn };
          this.#schedule();
        },
        (error) => {
          if (error instanceof ApiError && error.code === 'UNAUTHENTICATED')
            leave({ text: 'Your session has ended. Please sign in again.', forget: null });
          // Anything else may pass: the next request tries again, and until then the token is good for a while.
        },
      )
      .finally(() => (this.#renewal = null));
    return this.#renewal;
  }
}

/** @param {URL} url */
const isApi = ({ host, pathname }) => host === location.host && /^\/graphql(\/|$)/.test(pathname);

/** Takes the place of this page's `fetch` and `WebSocket`. @param {LiveSession} live */
export function sendAs(live) {
  const browserFetch = globalThis.fetch;
  globalThis.fetch = async (input, init) => {
    const address = new URL(input instanceof Request ? input.url : input, document.baseURI);
    const given = new Headers(init?.headers ?? (input instanceof Request ? input.headers : {}));
    if (!isApi(address) || given.get('authorization') !== PLACEHOLDER) return browserFetch(input, init);
    // A tenant that stands in the tab's own headers goes before the one chosen for the page.
    const headers = { ...(await live.headers()), ...withoutPlaceholder(Object.fromEntries(given)) };
    return browserFetch(input, { ...init, headers });
  };

  const BrowserSocket = globalThis.WebSocket;
  globalThis.WebSocket = class extends BrowserSocket {
    /** @param {Parameters<WebSocket['send']>[0]} data */
    send(data) {
      const message = isApi(new URL(this.url)) ? initMessage(data) : null;
      if (message === null) return super.send(data);
      live.headers().then(
        (headers) =>
          super.send(JSON.stringify({ ...message, payload: { ...withoutPlaceholder(message.payload), ...headers } })),
        () => this.close(),
      );
    }
  };
}

/** An API key takes the place of the whole header. @template T @param {Record<string, T>} headers @returns {Record<string, T>} */
const withoutPlaceholder = ({ authorization: _, ...headers }) => headers;

/**
 * The `connection_init` of graphql-transport-ws, where it asks for the session; null for anything else.
 * @param {unknown} data
 * @returns {{ type: string, payload: Record<string, unknown> } | null}
 */
function initMessage(data) {
  if (typeof data !== 'string') return null;
  const message = JSON.parse(data);
  return message.type === 'connection_init' && message.payload?.authorization === PLACEHOLDER ? message : null;
}
