import { EventStreamCodec } from '@smithy/core/event-streams';
import type { JsonObject } from './json-fields.ts';
import type { ServiceErrorName } from './service-error.ts';
import { exceptionBody, wireName } from './service-error.ts';

const codec = new EventStreamCodec(
  (bytes) => (typeof bytes === 'string' ? bytes : Buffer.from(bytes).toString('utf8')),
  (text) => Buffer.from(text, 'utf8'),
);

const frame = (headers: Readonly<Record<string, string>>, body: JsonObject): Uint8Array =>
  codec.encode({
    headers: Object.fromEntries(
      Object.entries({ ...headers, ':content-type': 'application/json' }).map(([name, value]) => [
        name,
        { type: 'string' as const, value },
      ]),
    ),
    body: Buffer.from(JSON.stringify(body)),
  });

/** One event of the response stream as bytes; blobs inside `body` must already be base64. */
export const eventFrame = (type: 'chunk' | 'trace' | 'returnControl', body: JsonObject): Uint8Array =>
  frame({ ':event-type': type, ':message-type': 'event' }, body);

/** An exception inside the stream as bytes; nothing may follow it. */
export const exceptionFrame = (exception: ServiceErrorName, message: string): Uint8Array =>
  frame({ ':exception-type': wireName(exception), ':message-type': 'exception' }, exceptionBody(exception, message));
