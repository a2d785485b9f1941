import { isoTime } from '../kernel/clock.ts';
import { badInput } from '../kernel/errors.ts';
import { ULID_PATTERN, ulidTime } from '../kernel/ids.ts';
import { pieces } from '../kernel/pieces.ts';
import type { ExportFormat, ExportRequest, LateTokensEvent, SignInEvent, TurnEvent, UsageEvent } from './model.ts';
import { checkPeriod } from './periods.ts';
import type { StoredEvent, UsageStore } from './ports.ts';

const ROW_ID = new RegExp(`^${ULID_PATTERN}(\\.[A-Za-z0-9._-]{1,64})?$`);

// ---- CSV ------------------------------------------------------------------------------------------------------------------

type Cell = string | number | boolean | readonly string[] | null | undefined;
type Fields = TurnEvent & SignInEvent & LateTokensEvent;
type Event = Partial<Fields> & Pick<UsageEvent, 'kind'>;
type Service = 'memory' | 'knowledgeBase' | 'actionGroup';
type Columns = Readonly<Record<string, (event: Event, id: string) => Cell>>;

/** The fields that fill a column of their name. The compiler asks for every one; new ones go to the end, so that the others keep their places. */
const FIELDS: Readonly<Record<Exclude<keyof Fields, 'id' | 'models' | Service>, true>> = {
  turnId: true,
  userId: true,
  conversationId: true,
  agentId: true,
  aliasId: true,
  modelId: true,
  first: true,
  status: true,
  errorCode: true,
  attempts: true,
  inputTokens: true,
  outputTokens: true,
  estimatedTokens: true,
  latencyMs: true,
  firstTextMs: true,
  traces: true,
  priceVersion: true,
  sessionId: true,
  signInId: true,
  identityProvider: true,
  requestIds: true,
  traceIds: true,
};

const fields: Columns = Object.fromEntries(
  (Object.keys(FIELDS) as (keyof typeof FIELDS)[]).map((name) => [name, (event: Event) => event[name]]),
);
const callsOf = (service: Service): Columns => ({
  [`${service}Calls`]: (event) => event[service]?.calls,
  [`${service}Failures`]: (event) => event[service]?.failures,
  [`${service}LatenciesMs`]: (event) => event[service]?.latenciesMs.join(' '),
  [`${service}Targets`]: (event) => event[service] && JSON.stringify(event[service].targets),
});

/** The columns, from left to right. */
const COLUMNS: Columns = {
  id: (_event, id) => id,
  kind: ({ kind }) => kind,
  time: (_event, id) => isoTime(ulidTime(id)),
  ...fields,
  ...callsOf('memory'),
  ...callsOf('knowledgeBase'),
  ...callsOf('actionGroup'),
  models: ({ models }) => models && JSON.stringify(models),
};

/**
 * What spreadsheets take for a formula, also in its full-width forms (OWASP, "CSV Injection"). A leading apostrophe takes one more as
 * well, so that a reader gets back what was there by dropping one.
 */
const SUSPICIOUS = /^[=+\-@\t\r\n'＝＋－＠]/;
/** What needs quotes (RFC 4180, 2.6). */
const QUOTED = /[",\r\n]/;

function cellOf(value: Cell): string {
  if (value === null || value === undefined) return '';
  if (value instanceof Array) return cellOf(value.join(' '));
  if (typeof value !== 'string') return String(value);
  const safe = SUSPICIOUS.test(value) ? `'${value}` : value;
  return QUOTED.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

const READS = Object.values(COLUMNS);
const HEADER = `${Object.keys(COLUMNS).join(',')}\r\n`;
const csvRow = ({ id, event }: StoredEvent): string => `${READS.map((read) => cellOf(read(event, id))).join(',')}\r\n`;

// ---- JSON Lines -----------------------------------------------------------------------------------------------------------

const jsonLine = ({ id, event }: StoredEvent): string =>
  `${JSON.stringify({ id, time: isoTime(ulidTime(id)), ...event })}\n`;

const FORMATS = {
  CSV: { header: HEADER, row: csvRow },
  JSONL: { header: '', row: jsonLine },
} as const satisfies Record<ExportFormat, unknown>;

/** The raw events of one tenant, as the rows of a table or as JSON Lines. */
export function createUsageExport(store: Pick<UsageStore, 'ordered'>) {
  function checkAfter(after: string, { start, end }: ExportRequest) {
    if (!ROW_ID.test(after)) throw badInput('`after` must be the id of a row.', 'after');
    const time = ulidTime(after);
    if (time < start.getTime() || time >= end.getTime())
      throw badInput('`after` must be the id of a row of this period.', 'after');
  }

  async function* rows({ start, end, format }: ExportRequest, after: string | null) {
    const { header, row } = FORMATS[format];
    if (after === null) yield header;
    for await (const stored of store.ordered({ startMs: start.getTime(), endMs: end.getTime(), after }))
      yield row(stored);
  }

  const check = ({ start, end }: ExportRequest) => checkPeriod(start, end);
  return {
    check,
    text(request: ExportRequest, after: string | null): AsyncIterable<string> {
      check(request);
      if (after !== null) checkAfter(after, request);
      return pieces(rows(request, after));
    },
  };
}
