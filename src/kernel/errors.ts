/**
 * Every failure a caller can meet, with the HTTP status it takes when no root field returned a value.
 * `null`: the status depends on the media type (200 in `application/json`, 400 in `application/graphql-response+json`).
 * The meaning of each code for a client is documented in `docs/errors.md`.
 */
export const ERROR_CODES = {
  UNAUTHENTICATED: 401,
  ORIGIN_NOT_ALLOWED: 403,
  TENANT_REQUIRED: 400,
  TENANT_INVALID: 403,
  TENANT_SUSPENDED: 403,
  FORBIDDEN: 403,
  NOT_FOUND: null,
  BAD_USER_INPUT: null,
  CONFLICT: null,
  CONVERSATION_BUSY: null,
  IDEMPOTENCY_CONFLICT: null,
  RATE_LIMITED: 429,
  QUOTA_EXCEEDED: null,
  COST_LIMIT_EXCEEDED: null,
  SUBSCRIPTION_LIMIT: 429,
  TIMEOUT: 504,
  AGENT_UNAVAILABLE: null,
  ISOLATION_VIOLATION: null,
  INTERRUPTED: null,
  PERSISTED_OPERATION_REQUIRED: null,
  PERSISTED_OPERATION_NOT_FOUND: null,
  INTERNAL: 500,
} as const satisfies Record<string, number | null>;

export type ErrorCode = keyof typeof ERROR_CODES;

/** Facts a client may act on, e.g. `currentVersion`, `limit`, `retryAfterMs`. Sent to the client: never a secret, never another tenant's data. */
export type ErrorDetails = Readonly<Record<string, string | number | boolean | null>>;

/** A failure meant for the caller: its message and details are sent as they stand. Anything else thrown is masked as INTERNAL. */
export class AppError extends Error {
  readonly code: ErrorCode;
  readonly details: ErrorDetails;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}, options?: ErrorOptions) {
    super(message, options);
    this.name = 'AppError';
    this.code = code;
    this.details = details;
  }
}

export const badInput = (message: string, field: string): AppError =>
  new AppError('BAD_USER_INPUT', message, { field });
