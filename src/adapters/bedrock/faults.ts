import { AppError } from '../../kernel/errors.ts';

/** What may be done about a fault as long as the answer has not begun: ask again, ask the agent's next alias, or nothing. */
type Recovery = 'RETRY' | 'NEXT_ALIAS' | 'NONE';

interface Kind {
  readonly message: string;
  /** What a caller is advised who sends the question again; null: that does not help. */
  readonly retryAfterMs: number | null;
  readonly recovery: Recovery;
  /** Whether it speaks against the agent itself, and not against the request, the configuration or the account. */
  readonly down: boolean;
}

/** The agent failed, or was not reached. */
export class AgentFault extends AppError {
  readonly recovery: Recovery;
  readonly down: boolean;

  constructor({ message, retryAfterMs, recovery, down }: Kind, cause?: unknown) {
    const details = retryAfterMs === null ? { retryable: false } : { retryable: true, retryAfterMs };
    super('AGENT_UNAVAILABLE', message, details, { cause });
    this.recovery = recovery;
    this.down = down;
  }
}

const FAILED: Kind = { message: 'The agent failed.', retryAfterMs: 2_000, recovery: 'RETRY', down: true };

/** The exceptions of Amazon Bedrock by their names, and the socket's timeout. */
const FAULTS: Readonly<Record<string, Kind>> = {
  ThrottlingException: { message: 'The agent is busy.', retryAfterMs: 1_000, recovery: 'RETRY', down: true },
  ModelNotReadyException: {
    message: 'The model is not ready yet.',
    retryAfterMs: 5_000,
    recovery: 'RETRY',
    down: true,
  },
  InternalServerException: FAILED,
  BadGatewayException: FAILED,
  DependencyFailedException: {
    message: 'Something the agent depends on failed.',
    retryAfterMs: 5_000,
    recovery: 'RETRY',
    down: false,
  },
  ConflictException: {
    message: 'The agent is busy with another request of this conversation.',
    retryAfterMs: 1_000,
    recovery: 'RETRY',
    down: false,
  },
  ServiceQuotaExceededException: {
    message: "The agent's quota is used up.",
    retryAfterMs: 60_000,
    recovery: 'NEXT_ALIAS',
    down: false,
  },
  TimeoutError: {
    message: 'The agent stopped answering.',
    retryAfterMs: 5_000,
    recovery: 'NEXT_ALIAS',
    down: true,
  },
  ValidationException: {
    message: 'The agent refused the request.',
    retryAfterMs: null,
    recovery: 'NONE',
    down: false,
  },
  AccessDeniedException: {
    message: 'This installation may not call the agent.',
    retryAfterMs: null,
    recovery: 'NEXT_ALIAS',
    down: false,
  },
  ResourceNotFoundException: {
    message: 'The agent does not exist.',
    retryAfterMs: null,
    recovery: 'NEXT_ALIAS',
    down: false,
  },
};

/** Credentials that have expired, a clock that is wrong, a request AWS does not accept: sending it again does not help. */
const REFUSED: Kind = {
  message: 'The agent refused the request.',
  retryAfterMs: null,
  recovery: 'NONE',
  down: false,
};

/** Everything else: connections refused, reset or cut, truncated or damaged frames, exceptions yet to be invented. */
const CONNECTION_LOST: Kind = {
  message: 'The connection to the agent was lost.',
  retryAfterMs: 1_000,
  recovery: 'RETRY',
  down: true,
};

/** Exceptions inside a stream begin with a small letter. */
const capitalised = (name: string): string => name.charAt(0).toUpperCase() + name.slice(1);

/** A reset connection is no timeout, though the SDK calls it one. */
const isReset = (error: Error): boolean => 'code' in error && (error.code === 'ECONNRESET' || error.code === 'EPIPE');

const nameOf = (error: unknown): string => (error instanceof Error && !isReset(error) ? error.name : '');

/** An answer of AWS with a status of 4xx. */
function isClientError(error: unknown): boolean {
  const status = (error as { $metadata?: { httpStatusCode?: number } } | null)?.$metadata?.httpStatusCode ?? 0;
  return status >= 400 && status < 500 && status !== 429;
}

/** The error a caller sees for whatever the SDK threw. The cause is kept for the log and never sent. */
export function agentFault(error: unknown): AppError {
  if (error instanceof AppError) return error;
  return new AgentFault(
    FAULTS[capitalised(nameOf(error))] ?? (isClientError(error) ? REFUSED : CONNECTION_LOST),
    error,
  );
}

/** The call was made, and for too long no text came, nor did the agent call a tool. */
export const neverBegan = (): AgentFault =>
  new AgentFault({
    message: 'The agent took too long to begin its answer.',
    retryAfterMs: 5_000,
    recovery: 'NEXT_ALIAS',
    down: true,
  });

export const tookTooLong = (): AgentFault =>
  new AgentFault({
    message: 'The agent took too long to finish its answer.',
    retryAfterMs: 5_000,
    recovery: 'NONE',
    down: false,
  });

/** No call was made, because the ones before failed. */
export const leftAlone = (retryAfterMs: number): AgentFault =>
  new AgentFault({
    message: 'The agent is failing, and is not asked for a moment.',
    retryAfterMs,
    recovery: 'NONE',
    down: false,
  });

/** Whoever read the answer is gone, or its time is over: why the signal says it was aborted. */
export const stopped = ({ reason }: AbortSignal): AgentFault =>
  reason instanceof AgentFault
    ? reason
    : new AgentFault(
        { message: 'The answer was stopped.', retryAfterMs: 1_000, recovery: 'NONE', down: false },
        reason,
      );
