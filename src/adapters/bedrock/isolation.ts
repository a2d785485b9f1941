import type { RetrievedReference } from '@aws-sdk/client-bedrock-agent-runtime';
import { AppError } from '../../kernel/errors.ts';
import type { Question } from '../../conversations/ports.ts';

const violation = (what: string): AppError =>
  new AppError(
    'ISOLATION_VIOLATION',
    'The answer was withheld: it rested on data that is not this tenant’s.',
    { retryable: false },
    { cause: what },
  );

/**
 * Checks what an answer rests on, before any of its text is passed on. The filters of the request should let nothing foreign
 * through; this holds when a filter is missing, or a document was filed under no tenant.
 *
 * @throws ISOLATION_VIOLATION for a passage of another tenant or of none, and for a knowledge base that is not the tenant's.
 */
export function createIsolationCheck({ tenantId, knowledgeBaseIds }: Pick<Question, 'tenantId' | 'knowledgeBaseIds'>) {
  return {
    references(references: readonly RetrievedReference[] | undefined) {
      for (const { metadata } of references ?? []) {
        if (metadata?.['tenantId'] !== tenantId) throw violation('a passage of another tenant, or of none');
      }
    },
    knowledgeBase(id: string | undefined) {
      if (id !== undefined && !knowledgeBaseIds.includes(id)) throw violation(`knowledge base ${id}`);
    },
  };
}

export type IsolationCheck = ReturnType<typeof createIsolationCheck>;
