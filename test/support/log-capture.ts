import { pino } from 'pino';
import type { Logger } from '../../src/server/log.ts';

export type LogLine = Readonly<Record<string, unknown>> & {
  readonly msg?: string;
  readonly requestId?: string;
  readonly operation?: {
    readonly type: string;
    readonly name: string | null;
    readonly transport: string;
    readonly errorCodes: readonly string[];
    readonly events?: number;
  };
};

/** A log that is kept, to be read by the test. */
export function captureLog(level = 'info'): {
  readonly log: Logger;
  readonly lines: LogLine[];
  readonly text: () => string;
} {
  const lines: LogLine[] = [];
  const log = pino({ level, base: null }, { write: (line: string) => void lines.push(JSON.parse(line) as LogLine) });
  return { log, lines, text: () => lines.map((line) => JSON.stringify(line)).join('\n') };
}
