import { expect, it } from 'vitest';
import type { RequestContext } from '../../src/context.ts';
import { operationIdOf } from '../../src/partners/operation-id.ts';
import { formatError } from '../../src/server/format-error.ts';
import { Refused } from '../../src/server/operations/admission.ts';
import { createDocumentFinder } from '../../src/server/operations/documents.ts';
import { principalOf } from '../support/bound-api.ts';

const context = { identity: { principal: principalOf('MEMBER'), fault: null }, namedTenant: null } as RequestContext;
const body = 'query Who { viewer { id } }';
const documentId = operationIdOf(body);

it('a store that is away while an operation is looked up is masked like everything that is not meant for callers', async () => {
  const gate = {
    find: () => Promise.reject(new Error('connect ECONNREFUSED 10.0.0.7:8000')),
    strictness: () => Promise.resolve('FREE' as const),
  };
  const find = createDocumentFinder({ gate, audit: () => {} });
  const refused: unknown = await find({ text: null, documentId, extensions: null }, context).catch((error) => error);
  if (!(refused instanceof Refused)) throw new Error('it was not refused');
  const shown = refused.errors.map((error) => formatError(error.toJSON(), error));
  expect(shown).toEqual([
    { message: 'Something went wrong on our side. Tell us the request id.', extensions: { code: 'INTERNAL' } },
  ]);
});

it('a published operation is parsed once, so that it is validated once', async () => {
  const published = { id: documentId, name: 'Who' } as never;
  const gate = {
    find: () => Promise.resolve({ published, body, allowed: true }),
    strictness: () => Promise.resolve('FREE' as const),
  };
  const find = createDocumentFinder({ gate, audit: () => {} });
  const sent = { text: null, documentId, extensions: null };
  const [first, second] = [await find(sent, context), await find(sent, context)];
  expect(first.document?.kind).toBe('Document');
  expect(second.document).toBe(first.document);
});
