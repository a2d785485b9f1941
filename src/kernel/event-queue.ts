/** A queue that is read as an async iterator. */
export interface EventQueue<T> extends AsyncIterableIterator<T, undefined> {
  push(value: T): void;
  /** No more values: what is queued is still read. */
  end(): void;
  /** Like `end`, but the reader then meets this error. */
  fail: (error: unknown) => void;
}

/**
 * Not an async generator: a generator's `return()` waits for its pending `await`, so a reader that leaves would be held until
 * the next event. Here `return()` takes effect at once; `onEnd` runs exactly once, when the reader leaves or has read the end.
 */
export function createEventQueue<T>({ onEnd }: { readonly onEnd: () => void }): EventQueue<T> {
  const values: T[] = [];
  const waiting: PromiseWithResolvers<IteratorResult<T, undefined>>[] = [];
  const DONE = { value: undefined, done: true } as const;
  let closed = false;
  let ended = false;
  let failure: { readonly error: unknown } | null = null;

  function finish() {
    if (ended) return;
    ended = closed = true;
    values.length = 0;
    onEnd();
    for (const reader of waiting.splice(0)) {
      if (failure) reader.reject(failure.error);
      else reader.resolve(DONE);
    }
    failure = null;
  }

  return {
    push(value) {
      if (closed) return;
      const reader = waiting.shift();
      if (reader) reader.resolve({ value, done: false });
      else values.push(value);
    },
    end() {
      closed = true;
      if (waiting.length > 0) finish();
    },
    fail(error) {
      if (closed) return;
      closed = true;
      failure = { error };
      if (waiting.length > 0) finish();
    },
    next() {
      const value = values.shift();
      if (value !== undefined) return Promise.resolve({ value, done: false });
      if (failure) {
        const { error } = failure;
        failure = null;
        finish();
        return Promise.reject(error instanceof Error ? error : new Error(String(error)));
      }
      if (closed) {
        finish();
        return Promise.resolve(DONE);
      }
      const reader = Promise.withResolvers<IteratorResult<T, undefined>>();
      waiting.push(reader);
      return reader.promise;
    },
    return() {
      finish();
      return Promise.resolve(DONE);
    },
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}
