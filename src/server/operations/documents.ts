import { GraphQLError, parse, type DocumentNode } from 'graphql';
import { caller } from '../../../directives/caller.ts';
import type { Audit, RequestContext } from '../../context.ts';
import { AppError } from '../../kernel/errors.ts';
import type { PublishedOperation } from '../../partners/model.ts';
import { operationIdOf } from '../../partners/operation-id.ts';
import { operationNotFound, operationRequired, type OperationGate, type Strictness } from '../../partners/running.ts';
import { actingTenant } from '../../tenancy/scope.ts';
import { Refused } from './admission.ts';
import { DOCUMENT_TOKENS_MAX } from './document-limits.ts';

/** Parsed operations that are kept; one has 16 KB of text at most. */
const DOCUMENTS_KEPT_MAX = 500;

/** What a request says of the document that is to be run, over any transport. */
export interface SentDocument {
  readonly text: string | null;
  /** The id of a published operation. */
  readonly documentId: unknown;
  /** Where Apollo Client and urql put such an id. */
  readonly extensions: unknown;
}

/** As what a document is run. */
export interface RunAs {
  /** The published operation that was asked for by its id. */
  readonly published: PublishedOperation | null;
  /** What it is called where it would be refused, if its API key were held to published operations already. */
  readonly tolerated: { readonly id: string; readonly name: string } | null;
}

export interface FoundDocument extends RunAs {
  readonly text: string | null;
  /** The document itself, where it is one that is kept: of a published operation. */
  readonly document: DocumentNode | null;
}

/** @throws Refused */
export type FindDocument = (sent: SentDocument, context: RequestContext) => Promise<FoundDocument>;

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** The wire shape of automatic persisted queries. Nothing is registered by it here: the id is that of a published operation, or of none. */
const persistedQueryOf = (extensions: unknown) =>
  isRecord(extensions) && isRecord(extensions['persistedQuery']) ? extensions['persistedQuery'] : null;

const notSupported = () =>
  new GraphQLError('PersistedQueryNotSupported', { extensions: { code: 'PERSISTED_QUERY_NOT_SUPPORTED' } });

/** A document that the caller sends, as far as they may. */
function improvised(text: string | null, strictness: Strictness): FoundDocument {
  if (strictness === 'BOUND') throw operationRequired();
  const given = text ?? '';
  const tolerated = strictness === 'FREE' ? null : { id: operationIdOf(given), name: nameIn(given) };
  return { text, document: null, published: null, tolerated };
}

/** The first name in a text that may be no document at all. */
const nameIn = (text: string): string => /\b(?:query|mutation|subscription)\s+(\w{1,100})/.exec(text)?.[1] ?? '';

export interface DocumentFinderDependencies {
  readonly gate: Pick<OperationGate, 'find' | 'strictness'>;
  readonly audit: Audit;
}

/** Parses each published operation once, so that it is also validated once: it is known to be valid as long as it is the same document. */
function createPublishedDocuments() {
  const documents = new Map<string, DocumentNode>();
  return (id: string, body: string): DocumentNode => {
    const document = documents.get(id) ?? parse(body, { maxTokens: DOCUMENT_TOKENS_MAX });
    documents.set(id, document);
    const [oldest = id] = documents.keys();
    if (documents.size > DOCUMENTS_KEPT_MAX) documents.delete(oldest);
    return document;
  };
}

/** Finds the document of a request: the text that came with it, or the published operation whose id did. */
export function createDocumentFinder({ gate, audit }: DocumentFinderDependencies): FindDocument {
  const parsed = createPublishedDocuments();

  async function find({ text, documentId, extensions }: SentDocument, context: RequestContext): Promise<FoundDocument> {
    const { principal } = context.identity;
    const persistedQuery = persistedQueryOf(extensions);
    const strictness = principal ? await gate.strictness(principal) : 'FREE';
    if (documentId == null && !persistedQuery) return improvised(text, strictness);
    // A text beside an id is to be registered under it, which is how automatic persisted queries begin.
    if (documentId == null && text && strictness !== 'BOUND') throw new Refused([notSupported()]);
    const id = documentId ?? persistedQuery?.['sha256Hash'];
    if (documentId != null) caller(context);
    const found =
      principal && typeof id === 'string'
        ? await gate.find(principal, actingTenant(principal, context.namedTenant), id)
        : null;
    if (found && (found.allowed || strictness !== 'BOUND')) {
      const { body, published, allowed } = found;
      return {
        text: body,
        document: parsed(published.id, body),
        published,
        tolerated: allowed ? null : { id: published.id, name: published.name },
      };
    }
    // Clients that try it with every server send the text then, if they may.
    if (documentId == null && strictness !== 'BOUND') throw new Refused([notSupported()]);
    throw operationNotFound();
  }

  function record(context: RequestContext, error: AppError) {
    const { principal } = context.identity;
    const tenantId = principal?.tenantId ?? null;
    audit(context, {
      ...{ action: 'operation.run', resource: 'operation', details: {}, principal, tenantId, named: null, error },
    });
  }

  return async (sent, context) => {
    try {
      return await find(sent, context);
    } catch (error) {
      if (error instanceof Refused) throw error;
      if (error instanceof AppError) record(context, error);
      // What was not meant for the caller, such as a store that is away, is masked where it is presented.
      throw new Refused([new GraphQLError('', { originalError: error as Error })]);
    }
  };
}
