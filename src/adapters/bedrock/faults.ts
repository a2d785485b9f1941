import { AppError } from '../../kernel/errors.ts';

/** What a caller should know of a failure of Amazon Bedrock, by the name of its exception. */
const FAULTS: Readonly<
  Record<string, { readonly message: string; readonly retryable: boolean; readonly retryAfterMs?: number }>
> = {
  ThrottlingException: { message: 'The agent is busy.', retryable: true, retryAfterMs: 1_000 },
  ServiceQuotaExceededException: { message: "The agent's quota is used up.", retryable: true, retryAfterMs: 60_000 },
  ModelNotReadyException: { message: 'The model is not ready yet.', retryable: true, retryAfterMs: 5_000 },
  InternalServerException: { message: 'The agent failed.', retryable: true },
  BadGatewayException: { message: 'The agent failed.', retryable: true },
  DependencyFailedException: { message: 'Something the agent depends on failed.', retryable: true },
  ConflictException: {
    message: 'The agent is busy with another request of this conversation.',
    retryable: true,
    retryAfterMs: 1_000,
  },
  TimeoutError: { message: 'The agent stopped answering.', retryable: true },
  ValidationException: { message: 'The agent refused the request.', retryable: false },
  AccessDeniedException: { message: 'This installation may not call the agent.', retryable: false },
  ResourceNotFoundException: { message: 'The agent does not exist.', retryable: false },
};

/** Credentials that have expired, a clock that is wrong, a request AWS does not accept: sending it again does not help. */
const REFUSED = { message: 'The agent refused the request.', retryable: false };

/** Everything else: connections refused, reset or cut, truncated or damaged frames, exceptions yet to be invented. */
const CONNECTION_LOST = { message: 'The connection to the agent was lost.', retryable: true };

/** Exceptions inside a stream begin with a small letter. */
const capitalised = (name: string): string => name.charAt(0).toUpperCase() + name.slice(1);

const nameOf = (error: unknown): string => (error instanceof Error ? error.name : '');

/** An answer of AWS with a status of 4xx. */
function isClientError(error: unknown): boolean {
  const status = (error as { $metadata?: { httpStatusCode?: number } } | null)?.$metadata?.httpStatusCode ?? 0;
  return status >= 400 && status < 500 && status !== 429;
}

/** The error a caller sees for whatever the SDK threw. The cause is kept for the log and never sent. */
export function agentFault(error: unknown): AppError {
  if (error instanceof AppError) return error;
  const { message, ...details } =
    FAULTS[capitalised(nameOf(error))] ?? (isClientError(error) ? REFUSED : CONNECTION_LOST);
  return new AppError('AGENT_UNAVAILABLE', message, details, { cause: error });
}
