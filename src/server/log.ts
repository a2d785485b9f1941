import { pino, type Logger } from 'pino';
import type { RequestContext } from '../context.ts';
import { AppError } from '../kernel/errors.ts';
import { parseTenantId } from '../tenancy/tenant-id.ts';
import type { RunAs } from './operations/documents.ts';

export type { Logger } from 'pino';

/** One line of JSON an event, on standard output. No secret and no text of a message is ever given to it; the redaction is a second line. */
export const createLogger = (level: string): Logger =>
  pino({
    level,
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    redact: [
      ...['*.authorization', '*["x-api-key"]', '*.apiKey', '*.secret', '*.password', '*.accessToken', '*.refreshToken'],
      '*.content',
    ],
  });

export interface OperationEnd {
  readonly type: string;
  readonly name: string | null;
  /** As what it was run; null where it never was. */
  readonly runAs: RunAs | null;
  readonly transport: 'http' | 'ws' | 'sse';
  readonly durationMs: number;
  readonly errorCodes: readonly string[];
  /** Events sent, of a subscription. */
  readonly events?: number;
}

/** Characters of a name that a line has room for: it is whatever the caller says it is. */
const NAME_LOGGED_MAX = 250;

/** Told of every operation once it has ended, whatever it came over. */
export type OperationEnded = (context: RequestContext, operation: OperationEnd) => void;

/** A line for every operation, with everything needed to find its caller and nothing of what it said. */
export const createOperationLog =
  (log: Logger): OperationEnded =>
  (context, { runAs, ...operation }) => {
    const { principal } = context.identity;
    const name = operation.name?.slice(0, NAME_LOGGED_MAX) ?? null;
    log.info(
      {
        requestId: context.requestId,
        // What can be no tenant's name is any text, of any length.
        tenantId: principal?.tenantId ?? parseTenantId(context.namedTenant ?? ''),
        userId: principal?.userId ?? null,
        ipAddress: context.ipAddress,
        operation: {
          ...operation,
          name,
          ...(runAs?.published && { name: runAs.published.name, id: runAs.published.id }),
        },
      },
      'operation',
    );
  };

/** The whole of an error that the caller saw masked. */
export const logUnexpected = (log: Logger, context: RequestContext, error: unknown) =>
  log.error({ requestId: context.requestId, err: error }, 'unexpected error');

/**
 * What the log may know of a turn's failure. What Bedrock says of a request can quote it, so of a failure that is not ours only
 * its name, status and request id are kept.
 */
export function turnFailure(error: unknown): Readonly<Record<string, unknown>> & { readonly code: string } {
  if (!(error instanceof AppError)) return { code: 'INTERNAL', err: error };
  const { cause } = error;
  const { $metadata } = (cause ?? {}) as { $metadata?: { httpStatusCode?: number; requestId?: string } };
  return {
    code: error.code,
    reason: error.message,
    cause: cause instanceof Error ? cause.name : cause,
    ...($metadata && { httpStatus: $metadata.httpStatusCode, awsRequestId: $metadata.requestId }),
  };
}
