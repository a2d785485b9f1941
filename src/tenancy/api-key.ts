import { AppError } from '../kernel/errors.ts';
import { ulid, ULID_PATTERN } from '../kernel/ids.ts';
import { hashOfSecret, SECRET_PATTERN } from './secret.ts';
import { parseTenantId, type TenantId } from './tenant-id.ts';

/** Slugs hold hyphens but no underscores, and neither do ULIDs: the parts cannot be mistaken for each other. */
const API_KEY = new RegExp(`^ak_([a-z0-9-]+)_(${ULID_PATTERN})_(${SECRET_PATTERN})$`);
const API_KEY_ID = new RegExp(`^key-(${ULID_PATTERN})$`);

export const newApiKeyId = (nowMs: number): string => `key-${ulid(nowMs)}`;
export const isApiKeyId = (text: string): boolean => API_KEY_ID.test(text);

/** The part of a key that is no secret: whose it is, and which. It is what a log or a leak is searched for. */
export const apiKeyPrefix = (tenantId: TenantId, id: string): string => `ak_${tenantId}_${id.slice('key-'.length)}`;

/** A key as its holder sends it. */
export const writeApiKey = (tenantId: TenantId, id: string, secret: string): string =>
  `${apiKeyPrefix(tenantId, id)}_${secret}`;

/** Which key somebody holds, and what they prove it with. It names its tenant itself, so no global look-up exists. */
export interface PresentedApiKey {
  readonly tenantId: TenantId;
  readonly id: string;
  readonly secretHash: string;
}

/** The parts of what claims to be a key; null for what cannot be one. */
export function parseApiKey(text: string): PresentedApiKey | null {
  const [, slug = '', key, secret] = API_KEY.exec(text) ?? [];
  const tenantId = parseTenantId(slug);
  return tenantId && key && secret ? { tenantId, id: `key-${key}`, secretHash: hashOfSecret(secret) } : null;
}

/** The one answer to every key that does not, or no longer, prove who is calling. */
export const apiKeyRefused = (): AppError =>
  new AppError('UNAUTHENTICATED', 'The API key is not valid, has expired, or was revoked.');
