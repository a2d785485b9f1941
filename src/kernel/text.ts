import { badInput } from './errors.ts';

/** C0 and C1 control characters, DEL, and halves of surrogate pairs, which no UTF-8 text can hold. */
export const CONTROL = /[\p{Cc}\p{Cs}]/u;
export const CONTROL_BUT_LAYOUT = /[^\P{Cc}\t\n\r]|\p{Cs}/u;

/** What a text of a caller may be. */
export interface TextRule {
  readonly field: string;
  /** In Unicode code points. */
  readonly charactersMax: number;
  readonly forbidden: RegExp;
}

/** Code points without building them all: a text far over the limit is not worth counting to its end. */
function exceeds(text: string, charactersMax: number): boolean {
  return text.length > charactersMax && (text.length > 2 * charactersMax || Array.from(text).length > charactersMax);
}

/** Refuses a text that is empty, too long, or holds what it may not. @throws BAD_USER_INPUT */
export function checkWhole(text: string, { field, charactersMax, forbidden }: TextRule): void {
  if (text === '') throw badInput(`\`${field}\` is empty.`, field);
  if (exceeds(text, charactersMax)) {
    throw badInput(`\`${field}\` has more than ${charactersMax.toLocaleString('en')} characters.`, field);
  }
  if (forbidden.test(text)) throw badInput(`\`${field}\` holds control characters.`, field);
}

/** The text without the space around it. @throws BAD_USER_INPUT */
export function checkText(text: string, rule: TextRule): string {
  const trimmed = text.trim();
  checkWhole(trimmed, rule);
  return trimmed;
}
