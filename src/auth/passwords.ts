import { badInput } from '../kernel/errors.ts';
import type { PasswordHasher } from './ports.ts';

/** NIST SP 800-63B-4, §3.1.1.2: a password that is the only factor has at least 15 characters; nothing is said of what kind. */
export const PASSWORD_CHARACTERS_MIN = 15;
/** Longer passwords are refused before they are hashed: hashing is what an attacker would have us pay for. */
export const PASSWORD_CHARACTERS_MAX = 1024;
/** What must be left of a password, in different characters, once all that everybody would guess is taken out of it. */
const UNEXPECTED_CHARACTERS_MIN = 6;
const EXPECTED = [
  ...['password', 'passwort', 'passphrase', 'welcome', 'letmein', 'changeme', 'iloveyou', 'administrator', 'admin'],
  ...['qwertyuiop', 'qwerty', 'qwertz', 'asdfghjkl', 'zxcvbnm', 'trustno', 'secret', 'login', 'demo', 'test'],
  ...['bedrock', 'graphql', 'amazon', 'tenant', 'platform'],
];

/** Whose password it is to be: what is known of them is what others try first. */
export interface PasswordOwner {
  readonly tenant: string;
  readonly name: string;
  readonly email: string;
}

/** The password without the words that everybody would guess, and without repetitions and sequences such as `aaa`, `123`, `cba`. */
function unexpectedPart(password: string, { tenant, name, email }: PasswordOwner): string {
  const words = [tenant, name, email].flatMap((text) => text.toLowerCase().split(/[^\p{L}\p{N}]+/u));
  const expected = [...EXPECTED, ...words.filter((word) => word.length >= 3)].sort((a, b) => b.length - a.length);
  const rest = expected.reduce((text, word) => text.replaceAll(word, ''), password.toLowerCase());
  const codes = Array.from(rest, (character) => character.codePointAt(0) ?? 0);
  return String.fromCodePoint(...codes.filter((code, index) => Math.abs(code - (codes[index - 1] ?? -9)) > 1));
}

/**
 * The rules of NIST SP 800-63B-4 for a password that somebody chooses: long enough, of any characters, and not what is
 * expected of everybody or of them.
 * @throws BAD_USER_INPUT
 */
export function checkPassword(password: string, owner: PasswordOwner, field = 'password'): void {
  if (password.length > PASSWORD_CHARACTERS_MAX)
    throw badInput(`\`${field}\` has more than ${PASSWORD_CHARACTERS_MAX.toLocaleString('en')} characters.`, field);
  if (/[\p{Cc}\p{Cs}]/u.test(password)) throw badInput(`\`${field}\` holds control characters.`, field);
  if (Array.from(password.normalize('NFKC')).length < PASSWORD_CHARACTERS_MIN)
    throw badInput(
      `\`${field}\` has fewer than ${PASSWORD_CHARACTERS_MIN} characters: a few words are easy to keep.`,
      field,
    );
  if (new Set(unexpectedPart(password.normalize('NFKC'), owner)).size < UNEXPECTED_CHARACTERS_MIN)
    throw badInput(
      `\`${field}\` is made of what everybody would guess: add words that have nothing to do with you.`,
      field,
    );
}

/** The hash of a password that somebody chose. @throws BAD_USER_INPUT before anything is hashed. */
export async function hashChosen(
  hasher: PasswordHasher,
  password: string,
  owner: PasswordOwner,
  field?: string,
): Promise<string> {
  checkPassword(password, owner, field);
  return hasher.hash(password);
}
