import { badInput } from '../kernel/errors.ts';
import { checkWhole, CONTROL } from '../kernel/text.ts';
import type { Role } from '../tenancy/principal.ts';
import { GIVEN } from './claims.ts';
import type { TenantIssuer } from './model.ts';

const ISSUERS_MAX = 10;
const AUDIENCES_MAX = 20;
const RULES_MAX = 50;
const ISSUER_CHARACTERS_MAX = 512;
const VALUE_CHARACTERS_MAX = 256;
const CLAIM = /^[\w:./-]{1,128}$/;

/** Claims that users may write themselves, by OpenID Connect Core 1.0, section 5.1, in any Amazon Cognito pool or elsewhere. */
const WRITTEN_BY_USERS = [
  ...[
    'name',
    'given_name',
    'family_name',
    'middle_name',
    'nickname',
    'preferred_username',
    'profile',
    'picture',
    'website',
  ],
  ...['email', 'email_verified', 'gender', 'birthdate', 'zoneinfo', 'locale', 'phone_number', 'phone_number_verified'],
  ...['address', 'updated_at'],
];
/** Claims that users choose once, when they sign up. Nobody else has the same: they may say who somebody is, and nothing else. */
const CHOSEN_BY_USERS = ['username', 'cognito:username'];
/** What a token says of itself, not of its user. */
const OF_THE_TOKEN = [
  ...['iss', 'aud', 'azp', 'exp', 'nbf', 'iat', 'jti', 'nonce', 'acr', 'amr', 'at_hash', 'auth_time', 'token_use'],
  ...['client_id', 'origin_jti', 'event_id', 'version', 'scope'],
];

/** An issuer as it is sent; what is left out has Amazon Cognito's names. */
export interface IssuerInput {
  readonly issuer: string;
  readonly audiences: readonly string[];
  readonly tenantClaim?: { readonly name: string; readonly value: string } | null | undefined;
  readonly userClaim?: string | null | undefined;
  readonly emailClaim?: string | null | undefined;
  readonly nameClaim?: string | null | undefined;
  readonly rolesClaim?: string | null | undefined;
  readonly roles?: readonly { readonly value: string; readonly role: Role }[] | null | undefined;
  readonly defaultRole?: Role | null | undefined;
  /** That users cannot write the attributes `custom:…` that are named. */
  readonly customClaimsAreReadOnly?: boolean | null | undefined;
}

const textRule = (field: string) => ({ field, charactersMax: VALUE_CHARACTERS_MAX, forbidden: CONTROL });

function checkClaim(name: string, field: string): string {
  if (!CLAIM.test(name)) throw badInput(`\`${field}\` must be the name of a claim.`, field);
  return name;
}

/** A claim that decides what somebody may do: one that its user can write would let everybody be anybody. */
function checkDecidingClaim(name: string, field: string, customIsReadOnly: boolean): string {
  checkClaim(name, field);
  if (WRITTEN_BY_USERS.includes(name))
    throw badInput(`\`${field}\` must not be \`${name}\`: users write it themselves.`, field);
  if (CHOSEN_BY_USERS.includes(name) && field !== 'userClaim')
    throw badInput(`\`${field}\` must not be \`${name}\`: users choose it when they sign up.`, field);
  if (OF_THE_TOKEN.includes(name))
    throw badInput(`\`${field}\` must not be \`${name}\`: it says nothing of the user.`, field);
  if (name.startsWith('custom:') && !customIsReadOnly)
    throw badInput(
      `\`${field}\`: users may write attributes such as \`${name}\`, unless no app client lets them. Say \`customClaimsAreReadOnly: true\` when that is so.`,
      field,
    );
  return name;
}

function checkRole(role: Role, field: string): Role {
  if (!GIVEN.includes(role)) throw badInput(`\`${field}\`: an issuer gives ${GIVEN.join(' and ')} only.`, field);
  return role;
}

function checkCount(list: readonly unknown[], field: string, [min, max]: readonly [number, number]): void {
  if (list.length < min) throw badInput(`\`${field}\` is empty.`, field);
  if (list.length > max) throw badInput(`\`${field}\` has more than ${max} entries.`, field);
}

function checkIssuer(input: IssuerInput): TenantIssuer {
  const { issuer, audiences, tenantClaim, roles = [], defaultRole = null } = input;
  checkWhole(issuer, { ...textRule('issuer'), charactersMax: ISSUER_CHARACTERS_MAX });
  if (URL.parse(issuer)?.search !== '') throw badInput('`issuer` must be a URL without a query.', 'issuer');
  checkCount(audiences, 'audiences', [1, AUDIENCES_MAX]);
  audiences.forEach((audience) => checkWhole(audience, textRule('audiences')));
  checkCount(roles ?? [], 'roles', [0, RULES_MAX]);
  const readOnly = input.customClaimsAreReadOnly === true;
  const deciding = (name: string, field: string) => checkDecidingClaim(name, field, readOnly);
  if (tenantClaim) checkWhole(tenantClaim.value, textRule('tenantClaim.value'));
  const rules = (roles ?? []).map(({ value, role }) => {
    checkWhole(value, textRule('roles.value'));
    return { value, role: checkRole(role, 'roles') };
  });
  if (rules.length === 0 && defaultRole === null)
    throw badInput('Without `roles` or `defaultRole` nobody is let in.', 'roles');
  return {
    ...{ issuer, audiences },
    tenantClaim: tenantClaim
      ? { name: deciding(tenantClaim.name, 'tenantClaim.name'), value: tenantClaim.value }
      : null,
    userClaim: deciding(input.userClaim ?? 'sub', 'userClaim'),
    emailClaim: checkClaim(input.emailClaim ?? 'email', 'emailClaim'),
    nameClaim: checkClaim(input.nameClaim ?? 'name', 'nameClaim'),
    rolesClaim: deciding(input.rolesClaim ?? 'cognito:groups', 'rolesClaim'),
    roles: rules,
    defaultRole: defaultRole && checkRole(defaultRole, 'defaultRole'),
  };
}

/** @throws BAD_USER_INPUT */
export function checkIssuers(inputs: readonly IssuerInput[]): readonly TenantIssuer[] {
  checkCount(inputs, 'issuers', [0, ISSUERS_MAX]);
  const issuers = inputs.map(checkIssuer);
  if (new Set(issuers.map(({ issuer }) => issuer)).size < issuers.length)
    throw badInput('`issuers` holds an issuer twice.', 'issuers');
  return issuers;
}
