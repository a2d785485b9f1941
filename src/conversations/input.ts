import { badInput } from '../kernel/errors.ts';
import { checkText, checkWhole, CONTROL, CONTROL_BUT_LAYOUT } from '../kernel/text.ts';

/** Limits are in Unicode code points, counted after trimming. */
export const CONTENT_CHARACTERS_MAX = 32_000;
export const TITLE_CHARACTERS_MAX = 200;
export const IDEMPOTENCY_KEY_CHARACTERS_MAX = 200;
export const TITLE_DEFAULT = 'New conversation';

/** @throws BAD_USER_INPUT */
export const checkContent = (text: string): string =>
  checkText(text, { field: 'content', charactersMax: CONTENT_CHARACTERS_MAX, forbidden: CONTROL_BUT_LAYOUT });

/** @throws BAD_USER_INPUT */
export const checkTitle = (text: string): string =>
  checkText(text, { field: 'title', charactersMax: TITLE_CHARACTERS_MAX, forbidden: CONTROL });

/** Taken as it is, spaces and all: a key that was trimmed could meet another one. @throws BAD_USER_INPUT */
export function checkIdempotencyKey(key: string | null | undefined): string | null {
  if (key == null) return null;
  if (key.trim() === '') throw badInput('`idempotencyKey` is empty.', 'idempotencyKey');
  checkWhole(key, { field: 'idempotencyKey', charactersMax: IDEMPOTENCY_KEY_CHARACTERS_MAX, forbidden: CONTROL });
  return key;
}
