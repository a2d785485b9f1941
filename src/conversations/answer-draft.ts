import { AppError } from '../kernel/errors.ts';
import { readMeter } from './metering.ts';
import type { Citation, MessageError } from './model.ts';
import type { AnswerPart } from './ports.ts';
import type { StreamWriter } from './stream-writer.ts';
import type { AnswerEnd } from './turn-end.ts';

/** The error a message shows for what the agent or the server threw. Anything not meant for callers is masked. */
export function messageError(error: unknown): MessageError {
  if (!(error instanceof AppError)) {
    return { code: 'INTERNAL', message: 'The answer failed unexpectedly.', retryable: true, retryAfterMs: null };
  }
  const { retryable, retryAfterMs } = error.details;
  return {
    code: error.code,
    message: error.message,
    retryable: retryable === true,
    retryAfterMs: typeof retryAfterMs === 'number' ? retryAfterMs : null,
  };
}

/** An answer while it is being written: its text, its citations and what it uses, all of it passed on to its readers by `writer`. */
export function createDraft(questionCharacters: number, writer: StreamWriter) {
  const citations: Citation[] = [];
  const meter = readMeter(questionCharacters);
  let content = '';
  return {
    meter,
    content: () => content,
    async take(part: AnswerPart, elapsedMs: number): Promise<void> {
      meter.take(part, elapsedMs);
      if (part.type === 'text') {
        content += part.text;
        await writer.text(part.text);
      } else if (part.type === 'citation') {
        citations.push(part.citation);
        await writer.citation(part.citation);
      }
    },
    end(status: AnswerEnd['status'], error: MessageError | null, elapsedMs: number): AnswerEnd {
      // What came before a breach of isolation is withheld too: nobody knows where the foreign passage began to show.
      const withheld = error?.code === 'ISOLATION_VIOLATION';
      return {
        status,
        error,
        content: withheld ? '' : content,
        citations: withheld ? [] : citations,
        metering: meter.total(elapsedMs),
        eventCount: writer.count(),
      };
    },
  };
}
