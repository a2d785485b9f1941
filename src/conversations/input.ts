import { badInput } from '../kernel/errors.ts';

/** Limits are in Unicode code points, counted after trimming. */
export const CONTENT_CHARACTERS_MAX = 32_000;
export const TITLE_CHARACTERS_MAX = 200;
export const IDEMPOTENCY_KEY_CHARACTERS_MAX = 200;
export const TITLE_DEFAULT = 'New conversation';

/** C0 and C1 control characters, DEL, and halves of surrogate pairs, which no UTF-8 text can hold. */
const CONTROL = /[\p{Cc}\p{Cs}]/u;
const CONTROL_BUT_LAYOUT = /[^\P{Cc}\t\n\r]|\p{Cs}/u;

interface Rule {
  readonly field: string;
  readonly charactersMax: number;
  readonly forbidden: RegExp;
}

/** Code points without building them all: a text far over the limit is not worth counting to its end. */
function exceeds(text: string, charactersMax: number): boolean {
  return text.length > charactersMax && (text.length > 2 * charactersMax || Array.from(text).length > charactersMax);
}

function checkWhole(text: string, { field, charactersMax, forbidden }: Rule): void {
  if (text === '') throw badInput(`\`${field}\` is empty.`, field);
  if (exceeds(text, charactersMax)) {
    throw badInput(`\`${field}\` has more than ${charactersMax.toLocaleString('en')} characters.`, field);
  }
  if (forbidden.test(text)) throw badInput(`\`${field}\` holds control characters.`, field);
}

function checkText(text: string, rule: Rule): string {
  const trimmed = text.trim();
  checkWhole(trimmed, rule);
  return trimmed;
}

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
