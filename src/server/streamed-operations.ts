import {
  createSourceEventStream,
  GraphQLError,
  parse,
  type ExecutionResult,
  type FormattedExecutionResult,
} from 'graphql';
import type { SubscribePayload } from 'graphql-ws';
import { guardAgain } from '../../directives/index.ts';
import type { RequestContext } from '../context.ts';
import type { Clock } from '../kernel/clock.ts';
import type { AppError } from '../kernel/errors.ts';
import { createEventStream, type EventStream } from './event-stream.ts';
import { appErrorOf, codeOf } from './format-error.ts';
import type { OperationEnd, OperationEnded } from './log.ts';
import { Refused, type AdmittedOperation } from './operations/admission.ts';
import { DOCUMENT_TOKENS_MAX } from './operations/document-limits.ts';
import type { FindDocument, RunAs, SentDocument } from './operations/documents.ts';
import type { Execution } from './operations/execution.ts';
import type { SubscriptionCounts } from './operations/subscription-limits.ts';
import { withSunset } from './operations/sunset.ts';
import type { ContextRenewal } from './request-context.ts';

/** An open subscription. */
export interface OpenSubscription {
  /** Looks at what an event would have to pass, without one, and ends it with the refusal if there is one. Rejects when that cannot be known now. */
  recheck(): Promise<void>;
  /** Ends it: the reader still receives this error. */
  refuse(error: AppError): void;
  /** Ends it without a word. */
  end(): void;
}

/** One operation of a socket or an event stream, in the form graphql-js executes it, with what the log wants to know of it. */
export interface StreamedOperation extends AdmittedOperation {
  readonly startedAt: number;
  readonly sent: SentDocument;
  readonly runAs: RunAs;
  /** Called with a subscription once it is open. */
  readonly onOpen: (subscription: OpenSubscription) => void;
  /** Whether its stream was opened: such a subscription is logged when that ends. */
  readonly streaming: () => boolean;
}

export interface StreamedOperationsOptions {
  readonly execution: Execution;
  readonly findDocument: FindDocument;
  readonly subscriptions: SubscriptionCounts;
  readonly clock: Clock;
  readonly operationEnded: OperationEnded;
  readonly renewed: ContextRenewal;
  readonly transport: OperationEnd['transport'];
}

const coded = (error: unknown, code: string) =>
  new GraphQLError(error instanceof Error ? error.message : 'Bad request.', { extensions: { code } });

/**
 * Operations whose results are sent one by one, over a socket or as an event stream: what Apollo Server does for HTTP, reading requests and
 * keeping account of them, is done for them here.
 */
export function createStreamedOperations(options: StreamedOperationsOptions) {
  const { execution, findDocument, subscriptions, clock, operationEnded, renewed, transport } = options;

  function parsed(text: string) {
    try {
      return parse(text, { maxTokens: DOCUMENT_TOKENS_MAX });
    } catch (error) {
      throw new Refused([coded(error, error instanceof GraphQLError ? 'GRAPHQL_PARSE_FAILED' : 'BAD_REQUEST')]);
    }
  }

  /** What is to be executed, or what is wrong with the request. */
  async function prepare(
    payload: SubscribePayload,
    opened: RequestContext,
    onOpen: StreamedOperation['onOpen'],
  ): Promise<StreamedOperation | readonly GraphQLError[]> {
    try {
      const { query, operationName, variables, extensions } = payload;
      const { documentId } = payload as { readonly documentId?: unknown };
      const sent: SentDocument = { text: query, documentId, extensions };
      const { text, document, ...runAs } = await findDocument(sent, opened);
      const request = {
        document: document ?? parsed(text ?? ''),
        operationName: operationName ?? null,
        variables: variables ?? {},
      };
      let streaming = false;
      return {
        ...execution.admit(request, opened),
        startedAt: clock.now(),
        ...{ sent, runAs },
        streaming: () => streaming,
        onOpen(subscription) {
          streaming = true;
          onOpen(subscription);
        },
      };
    } catch (error) {
      return error instanceof Refused ? error.errors : [coded(error, 'BAD_REQUEST')];
    }
  }

  /** The credential may have ended since the socket was opened. */
  const asOfNow = async (operation: StreamedOperation): Promise<StreamedOperation> => ({
    ...operation,
    contextValue: await renewed(operation.contextValue),
  });

  async function subscribe(prepared: StreamedOperation): Promise<ExecutionResult | EventStream> {
    const operation = await asOfNow(prepared);
    let opened = operation.contextValue;
    let leave = () => {};
    const source = await execution.within(operation, (ready) => {
      leave = subscriptions.enter(operation.contextValue);
      opened = ready.contextValue;
      return createSourceEventStream(ready);
    });
    if (!(Symbol.asyncIterator in source)) {
      leave();
      return source;
    }
    // Of its own for every event: the guards look again, and nothing is answered from an earlier event's reads.
    const eventContext = async () => ({ ...(await renewed(operation.contextValue)), event: true });
    let events = 0;
    const stream = createEventStream(
      source[Symbol.asyncIterator](),
      async (rootValue) => {
        events++;
        return execution.execute({ ...operation, rootValue, contextValue: await eventContext() });
      },
      () => {
        leave();
        logEnd(operation, { errorCodes: [], events });
      },
    );
    const refuse = (error: AppError) => stream.refuse(error);
    operation.onOpen({
      refuse,
      end: () => void stream.return?.(),
      async recheck() {
        try {
          const now = await eventContext();
          await guardAgain(opened, now);
          await findDocument(operation.sent, now); // it may have been unpublished, or the key be held to what is
        } catch (error) {
          const refusal = appErrorOf(error instanceof Refused ? error.errors[0] : error);
          if (!refusal) throw error;
          refuse(refusal);
        }
      },
    });
    return stream;
  }

  const logEnd = (operation: StreamedOperation, end: Pick<OperationEnd, 'errorCodes' | 'events'>) =>
    operationEnded(operation.contextValue, {
      type: operation.type,
      name: operation.operationName ?? null,
      runAs: operation.runAs,
      transport,
      durationMs: clock.now() - operation.startedAt,
      ...end,
    });

  /** A result as the client may see it. That of anything but an open subscription ends its operation. */
  function shown(result: ExecutionResult, operation: StreamedOperation): FormattedExecutionResult {
    const { contextValue } = operation;
    const formatted = withSunset(execution.shown(result, contextValue), operation.runAs.published);
    if (operation.streaming()) return formatted;
    logEnd(operation, { errorCodes: (formatted.errors ?? []).map(codeOf) });
    return execution.withCost(formatted, contextValue);
  }

  /** What the client is told of a request that could not be executed. */
  function refused(errors: readonly GraphQLError[], context: RequestContext, name: string | null) {
    const formatted = execution.present(errors, context);
    const errorCodes = formatted.map(codeOf);
    operationEnded(context, { type: 'none', name, runAs: null, transport, durationMs: 0, errorCodes });
    return formatted;
  }

  return {
    prepare,
    execute: async (operation: StreamedOperation) => execution.execute(await asOfNow(operation)),
    subscribe,
    shown,
    refused,
  };
}
