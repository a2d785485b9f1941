import {
  ApolloServer,
  HeaderMap,
  type ApolloServerPlugin,
  type GraphQLRequest,
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
import { Refused } from './operations/admission.ts';
import { DOCUMENT_TOKENS_MAX } from './operations/document-limits.ts';
import type { FindDocument, RunAs } from './operations/documents.ts';
import type { Execution } from './operations/execution.ts';
import { sunsetHeaders } from './operations/sunset.ts';

const GRAPHQL_MEDIA_TYPE = 'application/graphql-response+json';

export interface ApolloOptions {
  readonly execution: Execution;
  readonly findDocument: FindDocument;
  readonly log: Logger;
  readonly clock: Clock;
  readonly operationEnded: OperationEnded;
}

/**
 * Apollo Server reads requests and writes responses; between the two, operations are validated, limited and executed as they are over a
 * WebSocket.
 */
const operations = ({ execution, findDocument }: ApolloOptions): ApolloServerPlugin<RequestContext> => ({
  async requestDidStart({ request, contextValue: context }) {
    const refused = await replaceDocument(request, context, findDocument);
    return {
      didResolveOperation({ operation }) {
        // It would be run as if its field were an ordinary one.
        if (operation?.operation !== OperationTypeNode.SUBSCRIPTION) return Promise.resolve();
        throw new GraphQLError(
          'Subscriptions need a WebSocket (graphql-transport-ws), or `accept: text/event-stream`.',
          {
            extensions: { code: 'BAD_REQUEST', http: { status: 400 } },
          },
        );
      },
      async responseForOperation({ document, contextValue }) {
        const { operationName = null, variables = {} } = request;
        const singleResult = refused
          ? { errors: execution.present(refused.errors, contextValue) }
          : await execution.answer({ document, operationName, variables }, contextValue);
        return { http: { headers: new HeaderMap() }, body: { kind: 'single', singleResult } };
      },
    };
  },
});

/** What is parsed in place of a document that is not to be run. */
const NOTHING = '{ __typename }';

/** Puts the published operation that a request names in the place of its document. Apollo Server reads the request only after that. */
async function replaceDocument(
  request: GraphQLRequest,
  context: RequestContext,
  findDocument: FindDocument,
): Promise<Refused | null> {
  const { query = null, extensions, http } = request;
  const inBody = (http?.body as { readonly documentId?: unknown } | undefined)?.documentId;
  const documentId = inBody ?? new URLSearchParams(http?.search).get('documentId');
  try {
    const {
      text,
      document: _document,
      ...runAs
    } = await findDocument({ text: query, documentId, extensions }, context);
    running.set(context, runAs);
    if (text !== null) request.query = text;
    return null;
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    request.query = NOTHING;
    return error;
  } finally {
    delete request.extensions?.['persistedQuery'];
  }
}

/** As what the documents of requests are run. */
const running = new WeakMap<RequestContext, RunAs>();

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
        const { body, http } = request.response;
        setStatus(request);
        const runAs = running.get(contextValue) ?? null;
        for (const [name, value] of runAs?.published ? sunsetHeaders(runAs.published) : [])
          http.headers.set(name, value);
        const errors = body.kind === 'single' ? (body.singleResult.errors ?? []) : [];
        if (body.kind === 'single' && errors.length > 0) {
          body.singleResult.errors = errors.map((error) => withRequestId(error, contextValue.requestId));
        }
        operationEnded(contextValue, {
          type: request.operation?.operation ?? 'none',
          name: request.operationName ?? null,
          runAs,
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
