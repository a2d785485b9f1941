import type { FastifyReply } from 'fastify';
import type { FormattedExecutionResult } from 'graphql';
import type { Clock } from '../kernel/clock.ts';

/** The media type of an event stream (the HTML standard, 9.2). */
export const EVENT_STREAM = 'text/event-stream';
/** How often a line without meaning is sent, which keeps proxies from ending what seems idle; and how long it may lie unread. */
export const KEEP_ALIVE_MS = 12_000;
const COMMENT = ':\n\n';

/** An answer as a stream of server-sent events, in the distinct connections mode of the GraphQL over SSE protocol. */
export interface SseResponse {
  /** Resolves once it is on its way to the reader, or the reader has gone: only then a stream is asked for its next event. */
  next(result: FormattedExecutionResult): Promise<void>;
  /** Says that nothing follows, and ends the answer. */
  complete(): Promise<void>;
}

/** Takes the response over from Fastify, with the headers it has so far. A reader who leaves a keep-alive unread until the next one is due is cut off. */
export function openSseResponse(reply: FastifyReply, clock: Clock): SseResponse {
  const { raw } = reply;
  reply.hijack();
  raw.writeHead(200, {
    ...(reply.getHeaders() as Record<string, string>),
    'content-type': `${EVENT_STREAM}; charset=utf-8`,
    'cache-control': 'no-store, no-transform',
    'x-accel-buffering': 'no', // nginx would gather it
  });
  let cancel = () => {};
  const waiting = new Set<() => void>();
  raw.once('close', () => {
    cancel();
    for (const resume of waiting) resume();
  });

  /** Resolves when the kernel has taken it, or the connection has closed: not before, so that a source that is never empty starves nobody. */
  const write = (text: string): Promise<void> =>
    new Promise((resolve) => {
      if (raw.closed) return resolve();
      waiting.add(resolve);
      if (raw.destroyed) return;
      raw.write(text, (error) => {
        if (error) return; // it is closing
        waiting.delete(resolve);
        resolve();
      });
    });

  function keepAlive() {
    let read = false;
    void write(COMMENT).then(() => (read = true));
    cancel = clock.after(KEEP_ALIVE_MS, () => (read ? keepAlive() : raw.destroy()));
  }
  if (!raw.destroyed) keepAlive(); // the first one brings the headers with it

  return {
    next: (result) => write(`event: next\ndata: ${JSON.stringify(result)}\n\n`),
    async complete() {
      await write('event: complete\ndata:\n\n');
      cancel(); // not before: the end can lie unread like all else
      raw.end();
    },
  };
}
