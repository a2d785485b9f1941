import { isIP } from 'node:net';
import type { JWK } from 'jose';
import { z } from 'zod';

const DAY_MS = 86_400_000;

const whole = (min: number, max: number, byDefault: number) =>
  z.coerce.number().int().min(min).max(max).default(byDefault);

/** The settings of who is calling. */
export const identityEnvironment = {
  JWT_ISSUER: z.string().min(1).default('bedrock-graphql'),
  JWT_AUDIENCE: z.string().min(1).default('bedrock-graphql'),
  JWT_SIGNING_KEY: z.string().optional(),
  JWT_VERIFICATION_KEYS: z.string().optional(),
  ACCESS_TOKEN_TTL_SECONDS: whole(10, 86_400, 900),
  REFRESH_TOKEN_TTL_DAYS: whole(1, 365, 30),
  CURSOR_SECRET: z.string().min(32).optional(),
  TRUSTED_PROXIES: z.string().default(''),
};

type IdentityEnvironment = z.infer<z.ZodObject<typeof identityEnvironment>>;

export interface IdentityConfig {
  readonly jwt: {
    readonly issuer: string;
    readonly audience: string;
    readonly accessTtlMs: number;
    readonly refreshTtlMs: number;
    /** Public keys whose tokens are good beside those of the signing key. */
    readonly verificationKeys: readonly JWK[];
  };
  /** Null in embedded mode where none is set: then both are made once and kept in the data folder. */
  readonly secrets: { readonly signingKey: JWK; readonly cursorSecret: string } | null;
  /** Addresses, and networks, of proxies that are believed when they say whom they speak for. */
  readonly trustedProxies: readonly string[];
}

export const identityOf = (env: IdentityEnvironment, embedded: boolean, faults: string[]): IdentityConfig => ({
  jwt: {
    issuer: env.JWT_ISSUER,
    audience: env.JWT_AUDIENCE,
    accessTtlMs: env.ACCESS_TOKEN_TTL_SECONDS * 1000,
    refreshTtlMs: env.REFRESH_TOKEN_TTL_DAYS * DAY_MS,
    verificationKeys: verificationKeysOf(env.JWT_VERIFICATION_KEYS, faults),
  },
  secrets: embedded && !env.JWT_SIGNING_KEY && !env.CURSOR_SECRET ? null : secretsOf(env, faults),
  trustedProxies: proxiesOf(env.TRUSTED_PROXIES, faults),
});

function secretsOf({ JWT_SIGNING_KEY, CURSOR_SECRET }: IdentityEnvironment, faults: string[]) {
  if (!JWT_SIGNING_KEY)
    faults.push(
      'JWT_SIGNING_KEY: needed outside embedded mode, and beside CURSOR_SECRET: a P-256 private key as a JWK',
    );
  if (!CURSOR_SECRET)
    faults.push('CURSOR_SECRET: needed outside embedded mode, and beside JWT_SIGNING_KEY: at least 32 characters');
  const signingKey = readKey(JWT_SIGNING_KEY, privateKey);
  if (JWT_SIGNING_KEY && signingKey === null) faults.push('JWT_SIGNING_KEY: it is no P-256 private key as a JWK'); // the value itself must not reach a log
  return signingKey && { signingKey, cursorSecret: CURSOR_SECRET ?? '' };
}

const coordinates = { kty: z.literal('EC'), crv: z.literal('P-256'), x: z.string().min(1), y: z.string().min(1) };
const privateKey = z.looseObject({ ...coordinates, d: z.string().min(1) });
/** Of a private key only the public part is taken. */
const publicKeys = z.array(z.object(coordinates));

function verificationKeysOf(text: string | undefined, faults: string[]): readonly JWK[] {
  const keys = text === undefined ? [] : readKey(text, publicKeys);
  if (keys === null) faults.push('JWT_VERIFICATION_KEYS: it is no JSON array of P-256 keys (JWK)'); // it may hold a private one
  return keys ?? [];
}

function readKey<T>(text: string | undefined, shape: z.ZodType<T>): T | null {
  try {
    return shape.parse(JSON.parse(text ?? ''));
  } catch {
    return null;
  }
}

/** Addresses, and networks of them (RFC 4632, RFC 4291), separated by commas. Not everybody (`/0`): a caller would be believed who it is. */
function proxiesOf(text: string, faults: string[]): readonly string[] {
  const proxies = text
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '');
  if (!proxies.every(isNetwork))
    faults.push('TRUSTED_PROXIES: write it like 10.0.0.0/8,192.168.1.7; everybody (/0) is no proxy');
  return proxies;
}

function isNetwork(text: string): boolean {
  const [address = '', bits = '1', ...rest] = text.split('/');
  const version = isIP(address);
  const size = Number(bits);
  return version !== 0 && rest.length === 0 && /^\d{1,3}$/.test(bits) && size > 0 && size <= (version === 4 ? 32 : 128);
}
