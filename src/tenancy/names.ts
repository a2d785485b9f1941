import { badInput } from '../kernel/errors.ts';
import { checkText, CONTROL } from '../kernel/text.ts';

const NAME_CHARACTERS_MAX = 200;
/** RFC 5321, §4.5.3.1: a path has at most 256 octets, two of them the angle brackets. */
const EMAIL_CHARACTERS_MAX = 254;
/** What an address must have to be one. Whether it is somebody's only a letter to it can show. */
const EMAIL = /^[^\s@<>"',;:\\]+@[^\s@<>"',;:\\.]+(\.[^\s@<>"',;:\\.]+)+$/u;

/** The name of a tenant or a person, for people to read. @throws BAD_USER_INPUT */
export const checkName = (name: string, field = 'name'): string =>
  checkText(name, { field, charactersMax: NAME_CHARACTERS_MAX, forbidden: CONTROL });

/** An e-mail address in the one spelling it is stored and looked up in: letter case does not matter. @throws BAD_USER_INPUT */
export function checkEmail(text: string, field = 'email'): string {
  const email = normalisedEmail(checkText(text, { field, charactersMax: EMAIL_CHARACTERS_MAX, forbidden: CONTROL }));
  if (!EMAIL.test(email)) throw badInput(`\`${field}\` is not an e-mail address.`, field);
  return email;
}

export const normalisedEmail = (email: string): string => email.trim().toLowerCase();
