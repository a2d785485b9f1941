import { GraphQLError, type ExecutionResult } from 'graphql';
import { AppError } from '../kernel/errors.ts';
import { appErrorOf } from './format-error.ts';

/** Refusals that will not change while the subscription lasts: the first one ends it. */
const FINAL_CODES = ['UNAUTHENTICATED', 'ORIGIN_NOT_ALLOWED', 'FORBIDDEN', 'TENANT_INVALID', 'TENANT_SUSPENDED'];

/** An event that is lost is the end too: the reader would never know that one is missing. */
const isFinal = ({ data, errors = [] }: ExecutionResult): boolean =>
  (errors.length > 0 && data == null) || errors.some((error) => FINAL_CODES.includes(appErrorOf(error)?.code ?? ''));

const refusalOf = (error: AppError): ExecutionResult => ({
  data: null,
  errors: [new GraphQLError(error.message, { originalError: error })],
});

/** The results of one subscription, and a way to end it with an error. */
export interface EventStream extends AsyncIterableIterator<ExecutionResult, undefined> {
  /** Ends it: the reader still receives this error. */
  refuse(error: AppError): void;
}

/**
 * Executes the subscription's selection for every event of its source. Not a generator: `return()` takes effect at once, and
 * so does `refuse()`, even while the source has nothing to say. `onEnd` runs exactly once.
 */
export function createEventStream(
  source: AsyncIterator<unknown>,
  executeEvent: (event: unknown) => ExecutionResult | Promise<ExecutionResult>,
  onEnd: () => void,
): EventStream {
  const DONE = { value: undefined, done: true } as const;
  let refusal: ExecutionResult | null = null;
  /** Answers the reader who is waiting now. */
  let answer: (result: ExecutionResult | null) => void = () => {};
  let ended = false;

  function end() {
    if (ended) return;
    ended = true;
    answer(null);
    void source.return?.();
    onEnd();
  }

  async function following(): Promise<ExecutionResult | null> {
    const next = await source.next();
    return next.done ? null : executeEvent(next.value);
  }

  return {
    async next() {
      if (ended) return DONE;
      try {
        const result =
          refusal ??
          (await new Promise<ExecutionResult | null>((resolve, reject) => {
            answer = resolve;
            following().then(resolve, reject);
          }));
        if (result === null || ended) {
          end();
          return DONE;
        }
        if (result === refusal || isFinal(result)) end();
        return { value: result, done: false };
      } catch (error) {
        end();
        // A source that breaks off says why; anything else is not meant for the client.
        if (error instanceof AppError) return { value: refusalOf(error), done: false };
        throw error;
      }
    },
    return() {
      end();
      return Promise.resolve(DONE);
    },
    refuse(error) {
      refusal ??= refusalOf(error);
      answer(refusal);
    },
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}
