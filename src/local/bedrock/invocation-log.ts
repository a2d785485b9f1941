import type { ServedInvocation } from './model.ts';

/** A record that is still being written. */
export type OpenInvocation = { -readonly [Key in keyof ServedInvocation]: ServedInvocation[Key] };

/** The facts known when an invocation starts. */
export type InvocationStart = Pick<
  ServedInvocation,
  'agentId' | 'aliasId' | 'sessionId' | 'question' | 'sessionAttributes' | 'filters' | 'attempt' | 'requestId'
>;

/** The latest invocations; the oldest give way, so that a server left running does not grow. */
export interface InvocationLog {
  open(start: InvocationStart): OpenInvocation;
  all(): readonly ServedInvocation[];
}

/** An empty log for at most `recordsMax` invocations. */
export const createInvocationLog = (recordsMax = 10_000): InvocationLog => {
  const records: OpenInvocation[] = [];
  return {
    open(start) {
      const record: OpenInvocation = {
        ...start,
        memoryId: null,
        inputTokens: 0,
        outputTokens: 0,
        tracesSent: 0,
        lookups: [],
        actions: [],
        chunksSent: 0,
        outcome: 'running',
        error: null,
        clientHungUp: false,
      };
      records.push(record);
      if (records.length > recordsMax) records.shift();
      return record;
    },
    all: () => records.map((record) => ({ ...record })),
  };
};
