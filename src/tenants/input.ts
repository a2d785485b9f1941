import { badInput } from '../kernel/errors.ts';
import { parseTenantId, type TenantId } from '../tenancy/tenant-id.ts';
import { UNLIMITED, type FeatureFlag, type UsageLimits } from './model.ts';
import type { AgentOffer } from './ports.ts';

const LIST_MAX = 100;
/** Ten years, to the day. */
export const RETENTION_DAYS_MAX = 3_652;
/** Amazon Bedrock: `knowledgeBaseId` of Retrieve. */
const KNOWLEDGE_BASE_ID = /^[0-9a-zA-Z]{10}$/;
const ORIGIN_CHARACTERS_MAX = 300;
const FEATURE_NAME = /^[A-Za-z][\w.-]{0,63}$/;

/** Limits of an input: one left out, or undefined, says nothing; null means unlimited. */
export type LimitsInput = { readonly [Name in keyof UsageLimits]?: number | null | undefined };

/** @throws BAD_USER_INPUT for what can be no tenant's, `platform` among them. */
export function checkSlug(slug: string): TenantId {
  const id = parseTenantId(slug);
  if (id !== null) return id;
  const rule = '3 to 40 lower-case letters, digits and inner hyphens, a letter first; `platform` is reserved';
  throw badInput(`\`slug\` must be ${rule}.`, 'slug');
}

/** The limits with those of the input in place of them. @throws BAD_USER_INPUT: a limit is a whole number from 1. */
export function mergeLimits(limits: UsageLimits, input: LimitsInput): UsageLimits {
  const names = Object.keys(UNLIMITED) as (keyof UsageLimits)[];
  const given = names.filter((name) => input[name] !== undefined);
  for (const name of given) {
    const value = input[name];
    if (value != null && !(Number.isSafeInteger(value) && value >= 1)) {
      const field = `limits.${name}`;
      throw badInput(
        `\`${field}\` must be a whole number from 1, or null for no limit; to stop a tenant, suspend it.`,
        field,
      );
    }
  }
  return { ...limits, ...Object.fromEntries(given.map((name) => [name, input[name]])) };
}

function checkList(values: readonly string[], field: string): void {
  if (values.length > LIST_MAX) throw badInput(`\`${field}\` has more than ${LIST_MAX} entries.`, field);
  const twice = values.find((value, index) => values.indexOf(value) !== index);
  if (twice !== undefined) throw badInput(`\`${field}\` holds an entry twice.`, field);
}

/** @throws BAD_USER_INPUT for an agent that this installation does not have. */
export function checkAgentIds(agentIds: readonly string[], offer: AgentOffer): readonly string[] {
  checkList(agentIds, 'agentIds');
  const known = offer.ids();
  if (agentIds.some((id) => !known.includes(id))) {
    throw badInput(`This installation has no such agent; it has: ${known.join(', ')}.`, 'agentIds');
  }
  return agentIds;
}

/** @throws BAD_USER_INPUT */
export function checkKnowledgeBaseIds(ids: readonly string[]): readonly string[] {
  checkList(ids, 'knowledgeBaseIds');
  if (ids.some((id) => !KNOWLEDGE_BASE_ID.test(id)))
    throw badInput('The id of a knowledge base has 10 letters and digits.', 'knowledgeBaseIds');
  return ids;
}

/** @throws BAD_USER_INPUT */
export function checkFeatures(features: readonly FeatureFlag[]): readonly FeatureFlag[] {
  const names = features.map(({ name }) => name);
  checkList(names, 'features');
  if (names.some((name) => !FEATURE_NAME.test(name))) {
    throw badInput('A feature is named by 1 to 64 letters, digits, `_`, `.` and `-`, a letter first.', 'features');
  }
  return features.map(({ name, enabled }) => ({ name, enabled }));
}

/** As browsers write it: scheme, host and, unless it is the scheme's own, port (RFC 6454, 6.2). */
const isOrigin = (text: string): boolean =>
  /^https?:[^*]+$/.test(text) &&
  URL.canParse(text) &&
  new URL(text).origin === text &&
  text.length <= ORIGIN_CHARACTERS_MAX;

/** @throws BAD_USER_INPUT */
export function checkOrigins(origins: readonly string[]): readonly string[] {
  checkList(origins, 'allowedOrigins');
  if (!origins.every(isOrigin))
    throw badInput('Write an origin like https://app.example.com: no path, no wildcard.', 'allowedOrigins');
  return origins;
}

/** @throws BAD_USER_INPUT */
export function checkRetentionDays(days: number | null): number | null {
  if (days === null || (Number.isInteger(days) && days >= 1 && days <= RETENTION_DAYS_MAX)) return days;
  const field = 'conversationRetentionDays';
  throw badInput(`\`${field}\` must be 1 to ${RETENTION_DAYS_MAX}, or null to keep conversations for ever.`, field);
}
