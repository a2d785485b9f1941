import { createHash } from 'node:crypto';
import { badInput } from '../kernel/errors.ts';

/** As many operations as a tenant may publish. */
export const OPERATIONS_MAX = 1_000;

const OPERATION_ID = /^(?:sha256:)?([0-9a-f]{64})$/i;

/** The id of an operation: the SHA-256 of its body, in lower-case hex. */
export const operationIdOf = (body: string): string => createHash('sha256').update(body).digest('hex');

/** The id that this text spells, in the one spelling it is stored and looked up in; null for what is none. */
export const parseOperationId = (text: string): string | null => OPERATION_ID.exec(text)?.[1]?.toLowerCase() ?? null;

/** Ids of operations, each once. @throws BAD_USER_INPUT */
export function checkOperationIds(given: readonly string[], field = 'operationIds'): readonly string[] {
  const ids = new Set(
    given.map((text) => {
      const id = parseOperationId(text);
      if (id === null) throw badInput('The id of an operation is the SHA-256 of its body, in hexadecimal.', field);
      return id;
    }),
  );
  if (ids.size > OPERATIONS_MAX) throw badInput(`\`${field}\` names more than ${OPERATIONS_MAX} operations.`, field);
  return [...ids];
}
