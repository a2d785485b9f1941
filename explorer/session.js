// Who is signed in. Tokens are held in this page's memory and nowhere else: only while one page of the explorer gives way to the
// next do they lie in this tab's sessionStorage, which the next page empties as it begins.

/**
 * @typedef {{ name: string, email: string | null, roles: string[], tenant: { slug: string } | null, id: string }} Viewer
 * @typedef {object} Session
 * @property {string} accessToken Or an API key.
 * @property {number | null} endsAt When the access token ends, by this machine's clock; null where nobody said.
 * @property {number | null} renewAt When to renew it; null where there is no refresh token.
 * @property {string | null} refreshToken
 * @property {Viewer | null} viewer Null for a key that may not ask who it is.
 * @property {string} actingIn The tenant an operator acts in; empty: none.
 */

const ADDRESS = '/graphql';
const KEPT = 'explorer.session';
const NOTICE = 'explorer.notice';
/** How long before its end an access token is renewed, at most. */
const RENEWAL_LEAD_MS = 60_000;

const VIEWER = 'viewer { id name email roles tenant { slug } }';
const SIGN_IN = `mutation SignIn($input: SignInInput!) { signIn(input: $input) { accessToken accessTokenExpiresAt refreshToken ${VIEWER} } }`;
const REFRESH = `mutation Refresh($token: String!) { refreshSession(refreshToken: $token) { accessToken accessTokenExpiresAt refreshToken ${VIEWER} } }`;
const SIGN_OUT = 'mutation SignOut($token: String!) { signOut(refreshToken: $token) }';

/** What the API said went wrong. The code `UNREACHABLE` is this page's own: there was no answer, or none of the API. */
export class ApiError extends Error {
  /** @param {string} code @param {string} message @param {Record<string, unknown>} [details] */
  constructor(code, message, details = {}) {
    super(message);
    this.code = code;
    this.details = details;
  }
}

/** The headers that say whose request it is. An API key is known by how it begins. @param {string} token @returns {Record<string, string>} */
export const credential = (token) =>
  token.startsWith('ak_') ? { 'x-api-key': token } : { authorization: `Bearer ${token}` };

const send = globalThis.fetch.bind(globalThis); // as the browser made it, whatever is done to it later

/**
 * @param {string} query @param {Record<string, unknown>} variables @param {string | null} [token]
 * @returns {Promise<{ data: any, serverNow: number }>}
 */
async function call(query, variables, token = null) {
  /** @type {Response} */
  let response;
  /** @type {any} */
  let answer;
  try {
    const headers = { 'content-type': 'application/json', ...(token !== null && credential(token)) };
    response = await send(ADDRESS, { method: 'POST', headers, body: JSON.stringify({ query, variables }) });
    answer = await response.json();
  } catch {
    throw new ApiError('UNREACHABLE', 'The server does not answer.');
  }
  const [error] = answer.errors ?? [];
  if (error) throw new ApiError(error.extensions?.code ?? 'UNREACHABLE', String(error.message), error.extensions);
  return { data: answer.data, serverNow: Date.parse(response.headers.get('date') ?? '') || Date.now() };
}

/** @returns {Session} */
const sessionOf = (/** @type {any} */ granted, /** @type {number} */ serverNow, actingIn = '') => {
  // The lifetime is right even where this machine's clock is not.
  const lifetimeMs = Date.parse(granted.accessTokenExpiresAt) - serverNow;
  const now = Date.now();
  return {
    accessToken: granted.accessToken,
    endsAt: now + lifetimeMs,
    renewAt: now + lifetimeMs - Math.min(RENEWAL_LEAD_MS, lifetimeMs / 3),
    refreshToken: granted.refreshToken,
    viewer: granted.viewer,
    actingIn,
  };
};

/** @param {{ tenant: string, email: string, password: string }} input @returns {Promise<Session>} */
export async function signIn(input) {
  const { data, serverNow } = await call(SIGN_IN, { input });
  return sessionOf(data.signIn, serverNow);
}

/** A session of a token from elsewhere. It lasts as long as the token does: there is nothing to renew it with. @param {string} token @returns {Promise<Session>} */
export async function signInWithToken(token) {
  const session = { accessToken: token, endsAt: null, renewAt: null, refreshToken: null, viewer: null, actingIn: '' };
  try {
    const { data } = await call(`{ ${VIEWER} }`, {}, token);
    return { ...session, viewer: data.viewer };
  } catch (error) {
    // A partner's key may be good and yet not be allowed this question.
    if (error instanceof ApiError && error.code.startsWith('PERSISTED_OPERATION')) return session;
    throw error;
  }
}

/** @param {Session} session @returns {Promise<Session>} */
export async function renew(session) {
  const { data, serverNow } = await call(REFRESH, { token: session.refreshToken });
  return sessionOf(data.refreshSession, serverNow, session.actingIn);
}

/** @param {Session} session */
export async function signOut({ refreshToken }) {
  if (refreshToken !== null) await call(SIGN_OUT, { token: refreshToken });
}

/** Leaves the session for the page that comes next in this tab. @param {Session} session */
export const keep = (session) => sessionStorage.setItem(KEPT, JSON.stringify(session));

/** The session the page before left, if any; it lies there no longer. @returns {Session | null} */
export function take() {
  const kept = sessionStorage.getItem(KEPT);
  sessionStorage.removeItem(KEPT);
  return kept === null ? null : JSON.parse(kept);
}

/** @typedef {{ text: string, forget: string | null }} Notice What the sign-in form is to say, and whose tabs it is to forget. */

/** Goes to the sign-in form. @param {Notice} notice */
export function leave(notice) {
  sessionStorage.setItem(NOTICE, JSON.stringify(notice));
  location.replace('/explorer/sign-in');
}

/** Why the page before sent the reader here; said once. @returns {Notice} */
export function takeNotice() {
  const notice = sessionStorage.getItem(NOTICE);
  sessionStorage.removeItem(NOTICE);
  return notice === null ? { text: '', forget: null } : JSON.parse(notice);
}
