import { execute, GraphQLError, type ExecutionResult, type FormattedExecutionResult } from 'graphql';
import type { RequestContext } from '../../context.ts';
import type { Clock } from '../../kernel/clock.ts';
import { createErrorPresenter } from '../format-error.ts';
import type { Logger } from '../log.ts';
import {
  createAdmission,
  Refused,
  type AdmissionOptions,
  type AdmittedOperation,
  type OperationRequest,
} from './admission.ts';
import { startDeadline } from './deadline.ts';

export interface ExecutionOptions extends AdmissionOptions {
  /** How long an operation may take, and each event of a subscription. */
  readonly timeoutMs: number;
  readonly log: Logger;
  readonly clock: Clock;
}

export type Execution = ReturnType<typeof createExecution>;

/** How operations are admitted, executed and answered, the same over every transport. */
export function createExecution(options: ExecutionOptions) {
  const { timeoutMs, log, clock } = options;
  const admit = createAdmission(options);
  const present = createErrorPresenter(log);

  /** What a resolver throws where it should not is an error of the operation, not of the connection. */
  const failure = (error: unknown): ExecutionResult => {
    const originalError = error instanceof Error ? error : new Error(String(error));
    return { data: null, errors: [new GraphQLError('', { originalError })] };
  };

  /** Runs with an end set to it. What was being read when that came is missing, with an error that says why. */
  async function within<T>(
    operation: AdmittedOperation,
    run: (operation: AdmittedOperation) => T | Promise<T>,
  ): Promise<T | ExecutionResult> {
    const { contextValue } = operation;
    const deadline = startDeadline(clock, timeoutMs, contextValue.signal);
    try {
      return await run({ ...operation, contextValue: { ...contextValue, signal: deadline.signal } });
    } catch (error) {
      return failure(error);
    } finally {
      deadline.cancel();
    }
  }

  /** A result as its caller may see it. */
  const shown = ({ errors = [], ...rest }: ExecutionResult, context: RequestContext): FormattedExecutionResult =>
    errors.length > 0 ? { ...rest, errors: present(errors, context) } : rest;

  /** What is said beside an answer: what it cost. */
  const withCost = (result: FormattedExecutionResult, { bill }: RequestContext): FormattedExecutionResult =>
    bill ? { ...result, extensions: { ...result.extensions, cost: bill } } : result;

  return {
    schema: options.schema,
    /** @throws Refused */
    admit,
    within,
    shown,
    withCost,
    present,
    execute: (operation: AdmittedOperation) => within(operation, (ready) => execute(ready)),

    /** Admits, executes and answers a query or mutation. */
    async answer(request: OperationRequest, context: RequestContext): Promise<FormattedExecutionResult> {
      try {
        const operation = admit(request, context);
        const result = await within(operation, (ready) => execute(ready));
        return withCost(shown(result, context), operation.contextValue);
      } catch (error) {
        if (error instanceof Refused) return { errors: present(error.errors, context) };
        throw error;
      }
    },
  };
}
