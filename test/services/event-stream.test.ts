import { describe, expect, it } from 'vitest';
import { GraphQLError, type ExecutionResult } from 'graphql';
import { AppError, type ErrorCode } from '../../src/kernel/errors.ts';
import { createEventQueue } from '../../src/kernel/event-queue.ts';
import { createEventStream } from '../../src/server/event-stream.ts';
import { formatError } from '../../src/server/format-error.ts';

const DONE = { value: undefined, done: true };

function open(
  executeEvent: (event: unknown) => ExecutionResult | Promise<ExecutionResult> = (event) => ({ data: { event } }),
) {
  let [ends, left] = [0, 0];
  const source = createEventQueue<unknown>({ onEnd: () => left++ });
  const stream = createEventStream(source, executeEvent, () => ends++);
  return { source, stream, ends: () => ends, left: () => left };
}

const failing = (code: ErrorCode): ExecutionResult => ({
  errors: [new GraphQLError('no', { path: ['messageStream'], originalError: new AppError(code, 'no') })],
});

describe('the results of a subscription', () => {
  it('follow the events, in order, and end with the source', async () => {
    const { source, stream, ends } = open();
    source.push(1);
    source.push(2);
    source.end();
    const results: unknown[] = [];
    for await (const { data } of stream) results.push(data?.['event']);
    expect(results).toEqual([1, 2]);
    expect(ends()).toBe(1);
    expect(await stream.next()).toEqual(DONE);
  });

  it.each(['UNAUTHENTICATED', 'FORBIDDEN', 'TENANT_INVALID', 'TENANT_SUSPENDED'] as const)(
    'a %s ends it: that result is the last, and the source is left',
    async (code) => {
      const { source, stream, ends, left } = open(() => failing(code));
      source.push(1);
      source.push(2);
      expect((await stream.next()).value?.errors).toHaveLength(1);
      expect(await stream.next()).toEqual(DONE);
      expect([ends(), left()]).toEqual([1, 1]);
    },
  );

  it('an error of a part of an event is that event’s, and the next one follows', async () => {
    const part = { ...failing('NOT_FOUND'), data: { event: null } };
    const { source, stream } = open((event) => (event === 1 ? part : { data: { event } }));
    source.push(1);
    source.push(2);
    expect((await stream.next()).value?.errors).toHaveLength(1);
    expect((await stream.next()).value?.data).toEqual({ event: 2 });
  });

  it('an event that is lost to an error is the last one: its reader would not know that it is missing', async () => {
    const { source, stream, ends, left } = open((event) => (event === 1 ? failing('INTERNAL') : { data: { event } }));
    source.push(1);
    source.push(2);
    expect((await stream.next()).value?.errors).toHaveLength(1);
    expect(await stream.next()).toEqual(DONE);
    expect([ends(), left()]).toEqual([1, 1]);
  });

  it('a source that breaks off says why, and that is the last event; what was not meant for clients is thrown', async () => {
    const refused = open(() => ({ data: {} }));
    refused.source.fail(new AppError('INTERRUPTED', 'It broke off.', { retryable: true }));
    const last = (await refused.stream.next()).value;
    expect(last).toMatchObject({ data: null, errors: [{ originalError: { code: 'INTERRUPTED' } }] });
    expect(await refused.stream.next()).toEqual(DONE);
    const broken = open(() => ({ data: {} }));
    broken.source.fail(new Error('a fault'));
    await expect(broken.stream.next()).rejects.toThrow('a fault');
  });

  it.each(['UNAUTHENTICATED', 'TENANT_SUSPENDED', 'INTERRUPTED', 'INTERNAL'] as const)(
    'a refusal (%s) reaches a reader that waits, while the source says nothing, and ends it',
    async (code) => {
      const { source, stream, ends, left } = open();
      const waiting = stream.next();
      stream.refuse(new AppError(code, 'Over.'));
      const [error] = (await waiting).value!.errors!;
      expect(formatError(error!.toJSON(), error)).toMatchObject({ message: 'Over.', extensions: { code } });
      source.push('late');
      expect(await stream.next()).toEqual(DONE);
      expect([ends(), left()]).toEqual([1, 1]);
    },
  );

  it('a refusal between two events is the next result', async () => {
    const { source, stream } = open();
    source.push(1);
    await stream.next();
    stream.refuse(new AppError('UNAUTHENTICATED', 'Over.'));
    expect((await stream.next()).value?.errors?.[0]?.message).toBe('Over.');
    expect(await stream.next()).toEqual(DONE);
  });

  it('return() takes effect at once, leaves the source, and onEnd runs once', async () => {
    const { stream, ends, left } = open();
    const waiting = stream.next();
    expect(await stream.return!()).toEqual(DONE);
    expect(await waiting).toEqual(DONE);
    await stream.return!();
    stream.refuse(new AppError('UNAUTHENTICATED', 'late'));
    expect(await stream.next()).toEqual(DONE);
    expect([ends(), left()]).toEqual([1, 1]);
  });

  it('a source that fails, and an execution that throws, end it with that error', async () => {
    const broken = open();
    const waiting = broken.stream.next();
    broken.source.fail(new Error('source'));
    await expect(waiting).rejects.toThrow('source');
    expect(broken.ends()).toBe(1);

    const throwing = open(() => Promise.reject(new Error('execution')));
    throwing.source.push(1);
    await expect(throwing.stream.next()).rejects.toThrow('execution');
    expect([throwing.ends(), throwing.left()]).toEqual([1, 1]);
    expect(await throwing.stream.next()).toEqual(DONE);
  });
});
