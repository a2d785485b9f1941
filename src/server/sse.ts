import type { FastifyReply, FastifyRequest } from 'fastify';
import { GraphQLError, OperationTypeNode, type ExecutionResult } from 'graphql';
import type { SubscribePayload } from 'graphql-ws';
import Negotiator from 'negotiator';
import { sleep } from '../kernel/clock.ts';
import { AppError } from '../kernel/errors.ts';
import type { RequestContext } from '../context.ts';
import { goneSignal, refusal, senderOf } from './http-request.ts';
import type { EventStream } from './event-stream.ts';
import type { Logger } from './log.ts';
import { startRechecks } from './rechecks.ts';
import type { ContextBuilder } from './request-context.ts';
import {
  createStreamedOperations,
  type OpenSubscription,
  type StreamedOperation,
  type StreamedOperationsOptions,
} from './streamed-operations.ts';
import { EVENT_STREAM, openSseResponse, type SseResponse } from './sse-response.ts';

export interface SseOptions extends Omit<StreamedOperationsOptions, 'transport'> {
  readonly contextOf: ContextBuilder;
  readonly log: Logger;
}

export interface SseServer {
  /** Answers one operation, of any kind, with events. */
  serve(request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply | undefined>;
  /** Lets streams end by themselves for so long; those that have not are told to come back. */
  close(graceMs: number): Promise<void>;
  count(): number;
}

/** Whether an answer is to be a stream of events rather than JSON. Whoever takes anything gets JSON. */
export const wantsEvents = ({ headers }: FastifyRequest): boolean =>
  new Negotiator({ headers }).mediaType(['application/json', 'application/graphql-response+json', EVENT_STREAM]) ===
  EVENT_STREAM;

const stopping = () => new AppError('INTERRUPTED', 'The server is stopping: subscribe again.', { retryable: true });

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const isOptional = (value: unknown, fits: (value: unknown) => boolean) => value == null || fits(value);

/** The parameters of a request (GraphQL over HTTP, 5.2); null where the body holds none. */
function payloadOf(body: unknown): SubscribePayload | null {
  if (!isRecord(body)) return null;
  const { query, operationName, variables, extensions } = body;
  const isText = (value: unknown) => typeof value === 'string';
  const fits =
    [query, operationName].every((value) => isOptional(value, isText)) &&
    [variables, extensions].every((value) => isOptional(value, isRecord));
  return fits ? ({ ...body, query: query ?? '' } as unknown as SubscribePayload) : null;
}

/**
 * GraphQL over server-sent events: for readers behind what lets no WebSocket pass, with the same operations, guards, limits and masking. The
 * handler of `graphql-sse` itself takes events from their source however slowly they are read, so only its protocol is used
 * (docs/adr/0015-own-event-stream.md).
 */
export function createSseServer(options: SseOptions): SseServer {
  const { contextOf, clock, log } = options;
  const operations = createStreamedOperations({ ...options, transport: 'sse' });
  const open = new Set<OpenSubscription>();
  /** Called when no subscription is open any more. */
  let onAllEnded = () => {};
  let draining = false;

  /** What is shown of an operation until its end. */
  async function answer(payload: SubscribePayload, context: RequestContext, response: SseResponse) {
    const opened: OpenSubscription[] = [];
    const operation = await operations.prepare(payload, context, (subscription) => void opened.push(subscription));
    if (!isOperation(operation)) return response.next({ errors: refused(operation, context, payload) });
    const result = await (operation.type === OperationTypeNode.SUBSCRIPTION
      ? operations.subscribe(operation)
      : operations.execute(operation));
    const [subscription] = opened;
    if (Symbol.asyncIterator in result && subscription) return follow(result, subscription, operation, response);
    await response.next(operations.shown(result as ExecutionResult, operation));
  }

  async function follow(
    events: EventStream,
    subscription: OpenSubscription,
    operation: StreamedOperation,
    response: SseResponse,
  ) {
    const { identity, signal } = operation.contextValue;
    const stop = startRechecks({ clock, log }, identity.principal, () => subscription.recheck());
    signal.addEventListener('abort', () => subscription.end(), { once: true });
    open.add(subscription);
    if (draining) subscription.refuse(stopping());
    if (signal.aborted) subscription.end();
    try {
      for await (const event of events) await response.next(operations.shown(event, operation));
    } finally {
      stop();
      open.delete(subscription);
      if (open.size === 0) onAllEnded();
    }
  }

  const refused = (errors: readonly GraphQLError[], context: RequestContext, { operationName }: SubscribePayload) =>
    operations.refused(errors, context, operationName ?? null);

  return {
    async serve(request, reply) {
      if (request.method !== 'POST')
        return reply.code(405).header('allow', 'POST').send(refusal('Ask for events by POST.'));
      const payload = payloadOf(request.body);
      if (payload === null) return reply.code(400).send(refusal('The body must be one GraphQL request.'));
      const context = await contextOf(senderOf(request), goneSignal(reply));
      const response = openSseResponse(reply, clock);
      try {
        await answer(payload, context, response);
      } catch (error) {
        const originalError = error instanceof Error ? error : new Error(String(error));
        await response.next({ errors: refused([new GraphQLError('', { originalError })], context, payload) });
      }
      await response.complete();
      return undefined;
    },

    async close(graceMs) {
      draining = true;
      if (open.size === 0) return;
      const ended = new Promise<void>((resolve) => (onAllEnded = resolve));
      await Promise.race([ended, sleep(clock, graceMs)]);
      for (const subscription of open) subscription.refuse(stopping());
      await Promise.race([ended, sleep(clock, graceMs)]);
    },
    count: () => open.size,
  };
}

const isOperation = (prepared: StreamedOperation | readonly GraphQLError[]): prepared is StreamedOperation =>
  !Array.isArray(prepared);
