import { GraphQLError, type GraphQLFormattedError } from 'graphql';
import type { RequestContext } from '../context.ts';
import { AppError, ERROR_CODES, type ErrorCode } from '../kernel/errors.ts';
import { logUnexpected, type Logger } from './log.ts';

/** Codes of faults in the request itself, found before any resolver ran, by Apollo Server or by graphql-js. */
const REQUEST_CODES = [
  'GRAPHQL_PARSE_FAILED',
  'GRAPHQL_VALIDATION_FAILED',
  'OPERATION_RESOLUTION_FAILURE',
  'BAD_USER_INPUT',
  'BAD_REQUEST',
  'PERSISTED_QUERY_NOT_SUPPORTED',
];

/** graphql-js quotes a request in its errors, in up to a hundred of them the same part: more than this of one would be told a hundred times. */
const MESSAGE_CHARACTERS_MAX = 1_000;

const MASKED: GraphQLFormattedError = {
  message: 'Something went wrong on our side. Tell us the request id.',
  extensions: { code: 'INTERNAL' satisfies ErrorCode },
};

/** The failure behind a GraphQL error, if it is one of ours. */
export function appErrorOf(error: unknown): AppError | null {
  const cause = error instanceof GraphQLError ? error.originalError : error;
  return cause instanceof AppError ? cause : null;
}

/** graphql-js gives no codes. What has a path was met while executing: that is our fault, not the document's. */
const requestCode = ({ extensions, path }: Pick<GraphQLFormattedError, 'extensions' | 'path'>): string => {
  const code = extensions?.['code'];
  if (typeof code === 'string') return code;
  return path ? 'INTERNAL' : 'GRAPHQL_VALIDATION_FAILED';
};

/** Whether a caller may see a GraphQL error as it is: it says what is wrong with the request, and nothing else. */
const isRequestFault = (error: unknown): boolean =>
  error instanceof GraphQLError &&
  !(error.originalError && !(error.originalError instanceof GraphQLError)) &&
  REQUEST_CODES.includes(requestCode(error.toJSON()));

export const isExpected = (error: unknown): boolean => appErrorOf(error) !== null || isRequestFault(error);

/** What a caller is told of an error. Anything that was not meant for callers is masked. */
export function formatError(formatted: GraphQLFormattedError, error: unknown): GraphQLFormattedError {
  const { path, locations } = formatted;
  const place = { ...(locations && { locations }), ...(path && { path }) };
  const known = appErrorOf(error);
  if (known) return { message: known.message, ...place, extensions: { code: known.code, ...known.details } };
  if (!isRequestFault(error)) return { ...MASKED, ...place };
  const message = formatted.message.slice(0, MESSAGE_CHARACTERS_MAX);
  return { message, ...place, extensions: { code: requestCode(formatted) } };
}

export const codeOf = (error: GraphQLFormattedError): string => String(error.extensions?.['code']);

/** Adds the request's id to what was masked, so that it can be found in the log. */
export const withRequestId = (error: GraphQLFormattedError, requestId: string): GraphQLFormattedError =>
  codeOf(error) === 'INTERNAL' ? { ...error, extensions: { ...error.extensions, requestId } } : error;

/** The errors of a request as its caller may see them; those it may not see are logged whole. */
export const createErrorPresenter =
  (log: Logger) =>
  (errors: readonly GraphQLError[], context: RequestContext): GraphQLFormattedError[] =>
    errors.map((error) => {
      if (!isExpected(error)) logUnexpected(log, context, error);
      return withRequestId(formatError(error.toJSON(), error), context.requestId);
    });

const statusOfCode = (error: GraphQLFormattedError) =>
  ERROR_CODES[codeOf(error) as ErrorCode] as number | null | undefined;

/** The error that sets the status: the first one whose code has a number. */
const decisive = (errors: readonly GraphQLFormattedError[]) =>
  errors.find((error) => typeof statusOfCode(error) === 'number');

/**
 * The HTTP status of a response in which no root field returned a value: the first numbered one of its codes. Without one it
 * depends on the media type: `application/json` cannot tell a GraphQL server's error from a proxy's, so there it is 200
 * (GraphQL over HTTP, section 6.4.1).
 */
export function statusOf(errors: readonly GraphQLFormattedError[], mediaTypeIsGraphQL: boolean): number {
  const error = decisive(errors);
  return (error && statusOfCode(error)) ?? (mediaTypeIsGraphQL ? 400 : 200);
}

/** How long the error that sets the status asks to wait, in whole seconds (RFC 9110, 10.2.3); null if it does not say. */
export function retryAfterSeconds(errors: readonly GraphQLFormattedError[]): number | null {
  const waitMs = decisive(errors)?.extensions?.['retryAfterMs'];
  return typeof waitMs === 'number' ? Math.max(0, Math.ceil(waitMs / 1000)) : null;
}
