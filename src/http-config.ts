import { readFileSync } from 'node:fs';
import { createSecureContext } from 'node:tls';
import { z } from 'zod';

/** The names of `CostCeilings`. */
const ROLES = ['nobody', 'member', 'partner', 'admin', 'operator'] as const;

type Ceilings = Record<(typeof ROLES)[number], number>;
const CEILINGS_DEFAULT: Ceilings = { nobody: 100, member: 5_000, partner: 5_000, admin: 20_000, operator: 20_000 };

const whole = (min: number, max: number, byDefault: number) =>
  z.coerce.number().int().min(min).max(max).default(byDefault);

export const httpEnvironment = {
  CORS_ORIGINS: z.string().default(''),
  TLS_CERT_FILE: z.string().min(1).optional(),
  TLS_KEY_FILE: z.string().min(1).optional(),
  COST_CEILINGS: z
    .string()
    .regex(
      /^((nobody|member|partner|admin|operator)=[1-9]\d{0,8}(,|$))*$/,
      `Write it like member=5000,partner=2000; the names are ${ROLES.join(', ')}`,
    )
    .default(''),
  POINTS_PER_MINUTE: whole(0, 60_000_000, 600_000),
  OPERATION_TIMEOUT_MS: whole(100, 600_000, 60_000),
  SUBSCRIPTIONS_PER_CONNECTION: whole(1, 100_000, 100),
  SUBSCRIPTIONS_PER_USER: whole(1, 100_000, 500),
  SUBSCRIPTIONS_PER_TENANT: whole(1, 1_000_000, 10_000),
  SOCKETS_PER_USER: whole(1, 100_000, 500),
  SOCKETS_PER_TENANT: whole(1, 1_000_000, 10_000),
} as const;

type HttpEnvironment = z.infer<z.ZodObject<typeof httpEnvironment>>;

/** What the installation lets operations cost. */
export type OperationLimits = ReturnType<typeof operationLimitsOf>;

export const operationLimitsOf = (env: HttpEnvironment) => ({
  ceilings: {
    ...CEILINGS_DEFAULT,
    ...Object.fromEntries(
      env.COST_CEILINGS.split(',').flatMap((part) => {
        const [role, points] = part.split('=');
        return role && points ? [[role, Number(points)]] : [];
      }),
    ),
  },
  timeoutMs: env.OPERATION_TIMEOUT_MS,
  pointsPerMinute: env.POINTS_PER_MINUTE === 0 ? null : env.POINTS_PER_MINUTE,
  subscriptions: {
    perConnection: env.SUBSCRIPTIONS_PER_CONNECTION,
    perUser: env.SUBSCRIPTIONS_PER_USER,
    perTenant: env.SUBSCRIPTIONS_PER_TENANT,
  },
  sockets: { perUser: env.SOCKETS_PER_USER, perTenant: env.SOCKETS_PER_TENANT },
});

/** Origins of pages, separated by commas, as browsers write them (RFC 6454, 6.2). */
export function corsOriginsOf({ CORS_ORIGINS }: HttpEnvironment, faults: string[]): readonly string[] {
  const origins = CORS_ORIGINS.split(',')
    .map((origin) => origin.trim())
    .filter((origin) => origin !== '');
  if (
    !origins.every(
      (origin) => /^https?:[^*]+$/.test(origin) && URL.canParse(origin) && new URL(origin).origin === origin,
    )
  )
    faults.push('CORS_ORIGINS: write it like https://app.example.com,https://other.example.com, without paths');
  return origins;
}

/** Null: the server speaks plain HTTP. What lies in the files is used as it is when the server starts. */
export function tlsOf(
  { TLS_CERT_FILE, TLS_KEY_FILE }: HttpEnvironment,
  faults: string[],
): { readonly cert: string; readonly key: string } | null {
  if (TLS_CERT_FILE === undefined && TLS_KEY_FILE === undefined) return null;
  try {
    if (!TLS_CERT_FILE || !TLS_KEY_FILE) throw new Error('set TLS_CERT_FILE and TLS_KEY_FILE, or neither');
    const tls = { cert: readFileSync(TLS_CERT_FILE, 'utf8'), key: readFileSync(TLS_KEY_FILE, 'utf8') };
    createSecureContext(tls);
    return tls;
  } catch (error) {
    faults.push(`TLS_CERT_FILE: ${(error as Error).message}`);
    return null;
  }
}
