import {
  ApolloServer,
  HeaderMap,
  type ApolloServerPlugin,
  type GraphQLRequestContextWillSendResponse,
} from '@apollo/server';
import {
  ApolloServerPluginCacheControlDisabled,
  ApolloServerPluginLandingPageDisabled,
} from '@apollo/server/plugin/disabled';
import { GraphQLError, OperationTypeNode } from 'graphql';
import Negotiator from 'negotiator';
import type { RequestContext } from '../context.ts';
import type { Clock } from '../kernel/clock.ts';
import { codeOf, formatError, isExpected, retryAfterSeconds, statusOf, withRequestId } from './format-error.ts';
import { logUnexpected, type Logger, type OperationEnded } from './log.ts';
import { DOCUMENT_TOKENS_MAX } from './operations/document-limits.ts';
import type { Execution } from './operations/execution.ts';

const GRAPHQL_MEDIA_TYPE = 'application/graphql-response+json';

export interface ApolloOptions {
  readonly execution: Execution;
  readonly log: Logger;
  readonly clock: Clock;
  readonly operationEnded: OperationEnded;
}

/**
 * Apollo Server reads requests and writes responses; between the two, operations are validated, limited and executed as they are over a
 * WebSocket.
 */
const operations = ({ execution }: ApolloOptions): ApolloServerPlugin<RequestContext> => ({
  requestDidStart: () =>
    Promise.resolve({
      didResolveOperation({ operation }) {
        // It would be run as if its field were an ordinary one.
        if (operation?.operation !== OperationTypeNode.SUBSCRIPTION) return Promise.resolve();
        throw new GraphQLError('Subscriptions need a WebSocket (graphql-transport-ws).', {
          extensions: { code: 'BAD_REQUEST', http: { status: 400 } },
        });
      },
      async responseForOperation({ document, request, contextValue }) {
        const { operationName = null, variables = {} } = request;
        const singleResult = await execution.answer({ document, operationName, variables }, contextValue);
        return { http: { headers: new HeaderMap() }, body: { kind: 'single', singleResult } };
      },
    }),
});

function setStatus({ request, response }: GraphQLRequestContextWillSendResponse<RequestContext>) {
  if (response.body.kind !== 'single') return;
  const { data, errors } = response.body.singleResult;
  const nothingReturned = data == null || Object.values(data).every((value) => value === null);
  // A status of BAD_REQUEST was set with a reason: a refused method or content type.
  if (!errors?.length || !nothingReturned || errors.some((error) => codeOf(error) === 'BAD_REQUEST')) return;
  const negotiator = new Negotiator({ headers: { accept: request.http?.headers.get('accept') ?? '*/*' } });
  const mediaType = negotiator.mediaType(['application/json', GRAPHQL_MEDIA_TYPE]); // as Apollo Server will choose
  response.http.status = statusOf(errors, mediaType === GRAPHQL_MEDIA_TYPE);
  const seconds = response.http.status === 429 ? retryAfterSeconds(errors) : null;
  if (seconds !== null) response.http.headers.set('retry-after', String(seconds));
}

/** Status and request id of every response, and word of it to whoever keeps account of operations. */
const responses = ({ log, clock, operationEnded }: ApolloOptions): ApolloServerPlugin<RequestContext> => ({
  requestDidStart({ contextValue }) {
    const startedAt = clock.now();
    return Promise.resolve({
      // Of Apollo Server itself: those of an operation come with its result.
      didEncounterErrors({ errors }) {
        for (const error of errors) if (!isExpected(error)) logUnexpected(log, contextValue, error);
        return Promise.resolve();
      },
      willSendResponse(request) {
        const { body } = request.response;
        setStatus(request);
        const errors = body.kind === 'single' ? (body.singleResult.errors ?? []) : [];
        if (body.kind === 'single' && errors.length > 0) {
          body.singleResult.errors = errors.map((error) => withRequestId(error, contextValue.requestId));
        }
        operationEnded(contextValue, {
          type: request.operation?.operation ?? 'none',
          name: request.operationName ?? null,
          transport: 'http',
          durationMs: clock.now() - startedAt,
          errorCodes: errors.map(codeOf),
        });
        return Promise.resolve();
      },
    });
  },
});

export function createApollo(options: ApolloOptions): ApolloServer<RequestContext> {
  const { schema } = options.execution;
  return new ApolloServer<RequestContext>({
    schema,
    introspection: true,
    // The operations plugin validates, in an order and with limits of its own.
    dangerouslyDisableValidation: true,
    includeStacktraceInErrorResponses: false,
    persistedQueries: false,
    stopOnTerminationSignals: false,
    csrfPrevention: true,
    parseOptions: { maxTokens: DOCUMENT_TOKENS_MAX },
    formatError,
    logger: options.log,
    // The cache control plugin wraps every field and the landing page loads from a CDN.
    plugins: [
      ApolloServerPluginCacheControlDisabled(),
      ApolloServerPluginLandingPageDisabled(),
      operations(options),
      responses(options),
    ],
  });
}
