import {
  getOperationAST,
  getVariableValues,
  GraphQLError,
  specifiedRules,
  validate,
  visit,
  type DocumentNode,
  type ExecutionArgs,
  type GraphQLSchema,
  type OperationDefinitionNode,
  type OperationTypeNode,
} from 'graphql';
import { caller } from '../../../directives/caller.ts';
import type { Bill, RequestContext } from '../../context.ts';
import { AppError } from '../../kernel/errors.ts';
import { ceilingOf, maySeeSchema, type CostCeilings } from './ceilings.ts';
import { CostError, createCostAnalysis } from './cost.ts';
import { documentFaults } from './document-limits.ts';
import { variableFault } from './variable-limits.ts';

/** An operation as it was sent, its document parsed. */
export interface OperationRequest {
  readonly document: DocumentNode;
  readonly operationName: string | null;
  readonly variables: Readonly<Record<string, unknown>>;
}

/** An operation that may run, in the form graphql-js executes it. */
export interface AdmittedOperation extends ExecutionArgs {
  readonly type: OperationTypeNode;
  readonly contextValue: RequestContext;
}

export interface AdmissionOptions {
  readonly schema: GraphQLSchema;
  /** Whether everybody may read the schema. */
  readonly introspection: boolean;
  readonly ceilings: CostCeilings;
}

/** What is wrong with a request: nothing of it was executed, and nothing was charged. */
export class Refused extends Error {
  readonly errors: readonly GraphQLError[];

  constructor(errors: readonly GraphQLError[]) {
    super('refused');
    this.errors = errors;
  }
}

/** Faults of one kind, each with the code by which clients know it. */
const refused = (code: string, errors: readonly GraphQLError[]) =>
  new Refused(
    errors.map((error) => {
      error.extensions['code'] ??= code;
      return error;
    }),
  );

const VARIABLE_ERRORS_MAX = 20;

export type Admission = ReturnType<typeof createAdmission>;

/**
 * Decides whether an operation may run, for every transport: everything that can be known of it before anything is read. Cheap checks come
 * first, so that what is refused costs the server no more than reading it.
 */
export function createAdmission({ schema, introspection, ceilings }: AdmissionOptions) {
  const costOf = createCostAnalysis(schema);
  /** Documents that are known to be valid. Whoever keeps parsed documents has them validated once. */
  const valid = new WeakSet<DocumentNode>();

  function check(document: DocumentNode, hideSuggestions: boolean) {
    if (valid.has(document)) return;
    const tooMuch = documentFaults(document);
    const faults = tooMuch.length > 0 ? tooMuch : validate(schema, document, specifiedRules, { hideSuggestions });
    if (faults.length > 0) throw refused('GRAPHQL_VALIDATION_FAILED', faults);
    valid.add(document);
  }

  function variablesOf(
    operation: OperationDefinitionNode,
    given: OperationRequest['variables'],
    hideSuggestions: boolean,
  ) {
    const tooMuch = variableFault(given);
    if (tooMuch) throw refused('BAD_USER_INPUT', [tooMuch]);
    const options = { maxErrors: VARIABLE_ERRORS_MAX, hideSuggestions };
    const { errors, coerced } = getVariableValues(schema, operation.variableDefinitions ?? [], given, options);
    if (errors) throw refused('BAD_USER_INPUT', errors);
    return coerced;
  }

  function billOf(
    document: DocumentNode,
    operation: OperationDefinitionNode,
    variables: Record<string, unknown>,
    context: RequestContext,
  ): Bill {
    const ceiling = ceilingOf(ceilings, context.identity);
    try {
      const { fieldCost, typeCost } = costOf(document, operation, variables);
      const points = Math.ceil(fieldCost + typeCost);
      if (points <= ceiling) return { fieldCost, typeCost, points, ceiling, budget: null };
      caller(context); // whoever did not sign in may ask for more once they have
      throw new AppError('COST_LIMIT_EXCEEDED', 'The operation asks for too much at once.', { points, ceiling });
    } catch (error) {
      if (error instanceof AppError) throw new Refused([new GraphQLError(error.message, { originalError: error })]);
      if (error instanceof CostError) throw refused('BAD_USER_INPUT', [new GraphQLError(error.message)]);
      if (error instanceof GraphQLError) throw refused('BAD_USER_INPUT', [error]);
      throw error;
    }
  }

  /** @throws Refused */
  return (
    { document, operationName, variables: given }: OperationRequest,
    context: RequestContext,
  ): AdmittedOperation => {
    const seesSchema = introspection || maySeeSchema(context.identity.principal);
    check(document, !seesSchema);
    const operation = getOperationAST(document, operationName);
    if (!operation)
      throw refused('OPERATION_RESOLUTION_FAILURE', [new GraphQLError('Name one of the operations of the document.')]);
    if (!seesSchema && introspects(document))
      throw refused('GRAPHQL_VALIDATION_FAILED', [new GraphQLError('The schema is shown to administrators only.')]);
    const variables = variablesOf(operation, given, !seesSchema);
    const bill = billOf(document, operation, variables, context);
    return {
      schema,
      document,
      operationName,
      variableValues: given,
      hideSuggestions: !seesSchema,
      contextValue: { ...context, bill },
      type: operation.operation,
    };
  };
}

/** Whether any part of a document asks for the schema. `__typename` is no such question: clients need it. */
function introspects(document: DocumentNode): boolean {
  let found = false;
  visit(document, { Field: ({ name }) => void (found ||= name.value === '__schema' || name.value === '__type') });
  return found;
}
