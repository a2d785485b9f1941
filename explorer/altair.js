// Altair's page: nobody is here without a session, and Altair starts with it.

import { putCollection } from './collection.js';
import { LiveSession, sendAs } from './credentials.js';
import { keep, leave, signOut, take } from './session.js';

const element = (/** @type {string} */ id) => /** @type {HTMLElement} */ (document.getElementById(id));

// Altair evaluates "1" to learn whether it may. If so it runs people's scripts in a worker, which sees nothing of this page; if not, in a
// frame, which would have to be of this page's own origin. So it is told yes. Nothing is evaluated here all the same: the policy forbids it.
const evaluate = globalThis.eval;
globalThis.eval = (/** @type {string} */ code) => (code === '1' ? 1 : evaluate(code));

// Not every library in Altair gives its styles the nonce of this page, though only with it they apply. Styles that scripts of this server
// make are this server's.
const { nonce = '' } = /** @type {HTMLScriptElement} */ (document.querySelector('script'));
const createElement = document.createElement.bind(document);
document.createElement = (/** @type {string} */ name, /** @type {ElementCreationOptions | undefined} */ options) => {
  const created = createElement(name, options);
  if (created instanceof HTMLStyleElement) created.nonce = nonce;
  return created;
};

const session = take();
if (session === null) location.replace('/explorer/sign-in');
else await start(session);

/** @param {import('./session.js').Session} signedIn */
async function start(signedIn) {
  const live = new LiveSession(signedIn);
  const namespace = `explorer_${signedIn.viewer?.id ?? 'key'}_`; // the tabs of one user are not those of the next
  let leaving = false;
  addEventListener('pagehide', () => leaving || keep(live.session)); // a reload goes on where this page was
  addEventListener('pageshow', ({ persisted }) => persisted && location.reload()); // its session may have gone on elsewhere

  showBar(live, () => {
    leaving = true;
    // Whoever wants to leave is not kept by a server that is down.
    void signOut(live.session)
      .catch(() => undefined)
      .then(() => leave({ text: 'You are signed out.', forget: namespace }));
  });

  const options = await (await fetch('/explorer/options.json')).json();
  sendAs(live);
  await putCollection(options.collection);
  // @ts-expect-error Altair's only door is this global.
  globalThis.AltairGraphQL.init({
    ...options.altair,
    instanceStorageNamespace: namespace,
    endpointURL: `${location.origin}/graphql`,
    subscriptionsEndpoint: `${location.origin.replace('http', 'ws')}/graphql`,
    cspNonce: nonce,
  });
}

/** @param {LiveSession} live @param {() => void} onSignOut */
function showBar(live, onSignOut) {
  const { viewer } = live.session;
  const isOperator = viewer?.roles.includes('PLATFORM_OPERATOR') ?? false;
  element('bar-name').textContent = viewer?.name ?? 'An API key';
  element('bar-place').textContent = isOperator ? 'operator' : (viewer?.tenant?.slug ?? '');
  element('bar-acting').hidden = !isOperator;
  const tenant = /** @type {HTMLInputElement} */ (element('bar-tenant'));
  tenant.value = live.session.actingIn;
  tenant.addEventListener('input', () => (live.session.actingIn = tenant.value.trim()));
  element('bar-copy').addEventListener('click', () => void copyToken(live));
  element('bar-out').addEventListener('click', onSignOut);
  element('bar').hidden = false;
}

/** @param {LiveSession} live */
async function copyToken(live) {
  await live.headers(); // renewed, if it is time
  await navigator.clipboard.writeText(live.session.accessToken);
  element('bar-said').textContent = 'Copied';
  setTimeout(() => (element('bar-said').textContent = ''), 2_000);
}
