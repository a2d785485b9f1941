// The sign-in form. It shows what the API says as text, never as markup.

import { forgetTabs } from './collection.js';
import { ApiError, keep, signIn, signInWithToken, take, takeNotice } from './session.js';

const element = (/** @type {string} */ id) => /** @type {HTMLElement} */ (document.getElementById(id));
const input = (/** @type {string} */ id) => /** @type {HTMLInputElement} */ (element(id));

const enter = (/** @type {import('./session.js').Session} */ session) => {
  keep(session);
  location.replace('/explorer/');
};

const session = take();
if (session !== null) enter(session);
else await show();

async function show() {
  const notice = takeNotice();
  element('notice').textContent = notice.text;
  onSubmit('password-form', () =>
    signIn({
      tenant: input('tenant').value.trim(),
      email: input('email').value.trim(),
      password: input('password').value,
    }),
  );
  onSubmit('token-form', () =>
    signInWithToken(
      input('token')
        .value.trim()
        .replace(/^Bearer +/i, ''),
    ),
  );
  await Promise.all([showAccounts(), notice.forget !== null && forgetTabs(notice.forget)]);
}

/** @param {string} id @param {() => Promise<import('./session.js').Session>} signInBy */
function onSubmit(id, signInBy) {
  const form = /** @type {HTMLFormElement} */ (element(id));
  const button = /** @type {HTMLButtonElement} */ (form.querySelector('button'));
  const error = /** @type {HTMLElement} */ (form.querySelector('[role=alert]'));
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    void submit();
  });
  async function submit() {
    const empty = [...form.querySelectorAll('input')].find(({ value }) => value.trim() === '');
    if (empty) {
      error.textContent = `${empty.labels?.[0]?.textContent?.trim()} is missing.`;
      return empty.focus();
    }
    error.textContent = '';
    element('notice').textContent = '';
    button.disabled = true;
    try {
      enter(await signInBy());
    } catch (fault) {
      button.disabled = false;
      error.textContent = reasonOf(fault, id === 'token-form');
      [...form.querySelectorAll('input')].at(-1)?.focus();
    }
  }
}

/** @param {unknown} error @param {boolean} byToken */
function reasonOf(error, byToken) {
  if (!(error instanceof ApiError)) throw error;
  const { code, message, details } = error;
  if (code === 'UNAUTHENTICATED' && byToken) return 'This token is not valid, or it has expired.';
  if (code === 'RATE_LIMITED') return `Too many attempts. Try again ${waitOf(Number(details['retryAfterMs']))}.`;
  if (code === 'INTERNAL') return `${message} (${/** @type {string | undefined} */ (details['requestId']) ?? code})`;
  return message;
}

/** @param {number} ms */
function waitOf(ms) {
  if (!(ms > 0)) return 'in a while';
  const seconds = Math.ceil(ms / 1000);
  if (seconds < 120) return `in ${seconds} ${seconds === 1 ? 'second' : 'seconds'}`;
  return `in ${Math.ceil(seconds / 60)} minutes`;
}

/** The demo accounts, where there are any: one click fills the form. */
async function showAccounts() {
  const { accounts } = await (await fetch('/explorer/options.json')).json();
  if (accounts.length === 0) return;
  const list = element('accounts-list');
  for (const { name, tenant, email, password } of accounts) {
    const button = document.createElement('button');
    button.type = 'button';
    const label = document.createElement('strong');
    label.textContent = name;
    const address = document.createElement('span');
    address.textContent = tenant;
    button.append(label, address);
    button.addEventListener('click', () => {
      input('tenant').value = tenant;
      input('email').value = email;
      input('password').value = password ?? '';
      (password === null ? input('password') : /** @type {HTMLElement} */ (element('submit'))).focus();
    });
    list.append(document.createElement('li'));
    list.lastElementChild?.append(button);
  }
  element('accounts').hidden = false;
}
