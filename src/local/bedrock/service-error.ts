/** Every exception InvokeAgent documents, with the HTTP status it has when it comes before the stream. */
export const SERVICE_ERRORS = {
  AccessDeniedException: 403,
  BadGatewayException: 502,
  ConflictException: 409,
  DependencyFailedException: 424,
  InternalServerException: 500,
  ModelNotReadyException: 424,
  ResourceNotFoundException: 404,
  ServiceQuotaExceededException: 400,
  ThrottlingException: 429,
  ValidationException: 400,
} as const satisfies Record<string, number>;

export type ServiceErrorName = keyof typeof SERVICE_ERRORS;

/** Whether `name` is an exception that InvokeAgent documents. */
export const isServiceErrorName = (name: string): name is ServiceErrorName => Object.hasOwn(SERVICE_ERRORS, name);

/** A refusal in the service's own terms: its name and message are sent to the client as they stand. */
export class ServiceError extends Error {
  readonly exception: ServiceErrorName;

  constructor(exception: ServiceErrorName, message: string) {
    super(message);
    this.name = 'ServiceError';
    this.exception = exception;
  }
}

/** A ValidationException ready to be thrown. */
export const invalid = (message: string): ServiceError => new ServiceError('ValidationException', message);

/** The JSON body of an exception, with the members that only some exceptions have. */
export const exceptionBody = (exception: ServiceErrorName, message: string): Record<string, string> => {
  switch (exception) {
    case 'BadGatewayException':
    case 'DependencyFailedException':
      return { message, resourceName: 'emulated-resource' };
    case 'InternalServerException':
      return { message, reason: 'emulated' };
    default:
      return { message };
  }
};

/** The name an exception has inside the stream: `ThrottlingException` travels as `throttlingException`. */
export const wireName = (exception: ServiceErrorName): string => exception.charAt(0).toLowerCase() + exception.slice(1);
