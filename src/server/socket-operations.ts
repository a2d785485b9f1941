import { randomUUID } from 'node:crypto';
import {
  createSourceEventStream,
  execute,
  getOperationAST,
  GraphQLError,
  NoSchemaIntrospectionCustomRule,
  parse,
  specifiedRules,
  validate,
  type ExecutionArgs,
  type ExecutionResult,
  type FormattedExecutionResult,
  type GraphQLSchema,
} from 'graphql';
import type { SubscribePayload } from 'graphql-ws';
import { guardAgain } from '../../directives/index.ts';
import type { RequestContext } from '../context.ts';
import type { Clock } from '../kernel/clock.ts';
import type { AppError } from '../kernel/errors.ts';
import { DOCUMENT_TOKENS_MAX } from './apollo.ts';
import { createEventStream, type EventStream } from './event-stream.ts';
import { appErrorOf, codeOf, createErrorFormatter, isExpected, withRequestId } from './format-error.ts';
import { logUnexpected, type Logger, type OperationEnd, type OperationEnded } from './log.ts';
import type { ContextRenewal } from './request-context.ts';
import { selectionLimits } from './selection-limits.ts';

/** An open subscription. */
export interface OpenSubscription {
  /** Looks at what an event would have to pass, without one, and ends it with the refusal if there is one. Rejects when that cannot be known now. */
  recheck(): Promise<void>;
  /** Ends it: the reader still receives this error. */
  refuse(error: AppError): void;
  /** Ends it without a word. */
  end(): void;
}

/** One operation on a socket, in the form graphql-js executes it, with what the log wants to know of it. */
export interface SocketOperation extends ExecutionArgs {
  readonly contextValue: RequestContext;
  readonly type: string;
  readonly startedAt: number;
  /** Called with a subscription once it is open. */
  readonly onOpen: (subscription: OpenSubscription) => void;
  /** Whether its stream was opened: such a subscription is logged when that ends. */
  readonly streaming: () => boolean;
}

export interface SocketOperationsOptions {
  readonly schema: GraphQLSchema;
  readonly introspection: boolean;
  readonly log: Logger;
  readonly clock: Clock;
  readonly operationEnded: OperationEnded;
  readonly renewed: ContextRenewal;
}

const fault = (message: string, code: string) => new GraphQLError(message, { extensions: { code } });

/** Gives a code to what graphql-js found wrong with a document. */
function coded(error: GraphQLError, code: string): GraphQLError {
  error.extensions['code'] ??= code;
  return error;
}

/** Operations that come over a socket: Apollo Server does not see them, so what it does for HTTP is done for them here. */
export function createSocketOperations(options: SocketOperationsOptions) {
  const { schema, introspection, log, clock, operationEnded, renewed } = options;
  const rules = [...specifiedRules, selectionLimits, ...(introspection ? [] : [NoSchemaIntrospectionCustomRule])];
  const formatError = createErrorFormatter({ suggestions: introspection });

  /** What is to be executed, or what is wrong with the request. */
  function prepare(
    { query, operationName, variables }: SubscribePayload,
    contextValue: RequestContext,
    onOpen: SocketOperation['onOpen'],
  ): SocketOperation | readonly GraphQLError[] {
    try {
      const document = parse(query, { maxTokens: DOCUMENT_TOKENS_MAX });
      const faults = validate(schema, document, rules);
      if (faults.length > 0) return faults.map((error) => coded(error, 'GRAPHQL_VALIDATION_FAILED'));
      const operation = getOperationAST(document, operationName);
      if (!operation) return [fault('Name one of the operations of the document.', 'OPERATION_RESOLUTION_FAILURE')];
      const args = {
        schema,
        document,
        operationName: operationName ?? null,
        variableValues: variables ?? {},
        contextValue,
      };
      let opened = false;
      return {
        ...args,
        type: operation.operation,
        startedAt: clock.now(),
        streaming: () => opened,
        onOpen(subscription) {
          opened = true;
          onOpen(subscription);
        },
      };
    } catch (error) {
      return [
        error instanceof GraphQLError ? coded(error, 'GRAPHQL_PARSE_FAILED') : fault('Bad request.', 'BAD_REQUEST'),
      ];
    }
  }

  /** The credential may have ended since the socket was opened. */
  const asOfNow = async (operation: SocketOperation): Promise<SocketOperation> => ({
    ...operation,
    contextValue: await renewed(operation.contextValue),
  });

  async function subscribe(prepared: SocketOperation): Promise<ExecutionResult | EventStream> {
    const operation = await asOfNow(prepared);
    const source = await openSource(operation);
    if (!(Symbol.asyncIterator in source)) return source;
    // Of its own for every event: the guards look again, and nothing is answered from an earlier event's reads.
    const eventContext = async () => ({ ...(await renewed(operation.contextValue)), event: true });
    let events = 0;
    const stream = createEventStream(
      source[Symbol.asyncIterator](),
      async (rootValue) => {
        events++;
        return execute({ ...operation, rootValue, contextValue: await eventContext() });
      },
      () => logEnd(operation, { errorCodes: [], events }),
    );
    const refuse = (error: AppError) => stream.refuse(error);
    operation.onOpen({
      refuse,
      end: () => void stream.return?.(),
      async recheck() {
        try {
          await guardAgain(operation.contextValue, await eventContext());
        } catch (error) {
          const refusal = appErrorOf(error);
          if (!refusal) throw error;
          refuse(refusal);
        }
      },
    });
    return stream;
  }

  /** The subscription's events; what a resolver throws where it should not is an error of the operation, not of the socket. */
  async function openSource(operation: SocketOperation): Promise<AsyncIterable<unknown> | ExecutionResult> {
    try {
      return await createSourceEventStream(operation);
    } catch (error) {
      const originalError = error instanceof Error ? error : new Error(String(error));
      return { data: null, errors: [new GraphQLError('', { originalError })] };
    }
  }

  const logEnd = (operation: SocketOperation, end: Pick<OperationEnd, 'errorCodes' | 'events'>) =>
    operationEnded(operation.contextValue, {
      type: operation.type,
      name: operation.operationName ?? null,
      transport: 'ws',
      durationMs: clock.now() - operation.startedAt,
      ...end,
    });

  /** Errors as the client may see them; those it may not see are logged whole. */
  function shownErrors(errors: readonly GraphQLError[], context: RequestContext) {
    return errors.map((error) => {
      // After a valid document, what has neither a path nor a cause of ours is a variable that does not fit.
      const ours = error.originalError && !(error.originalError instanceof GraphQLError);
      if (!error.path && !ours) coded(error, 'BAD_USER_INPUT');
      if (!isExpected(error)) logUnexpected(log, context, error);
      return withRequestId(formatError(error.toJSON(), error), context.requestId);
    });
  }

  /** A result as the client may see it. That of anything but an open subscription ends its operation. */
  function shown(result: ExecutionResult, operation: SocketOperation): FormattedExecutionResult {
    const { errors = [], ...rest } = result;
    const formatted = shownErrors(errors, operation.contextValue);
    if (!operation.streaming()) logEnd(operation, { errorCodes: formatted.map(codeOf) });
    return formatted.length > 0 ? { ...rest, errors: formatted } : rest;
  }

  /** What the client is told of a request that could not be executed. */
  function refused(errors: readonly GraphQLError[], opener: RequestContext, name: string | null) {
    const context = { ...opener, requestId: randomUUID() };
    const formatted = shownErrors(errors, context);
    const errorCodes = formatted.map(codeOf);
    operationEnded(context, { type: 'none', name, transport: 'ws', durationMs: 0, errorCodes });
    return formatted;
  }

  return {
    prepare,
    execute: async (operation: SocketOperation) => execute(await asOfNow(operation)),
    subscribe,
    shown,
    refused,
  };
}
