import { isoTime } from '../kernel/clock.ts';
import { badInput } from '../kernel/errors.ts';
import { ULID_PATTERN, ulidTime } from '../kernel/ids.ts';
import type { TenantScope } from '../tenancy/scope.ts';
import type { ExportLinks } from './export-links.ts';
import type { ExportFormat, ExportRequest, LateTokensEvent, SignInEvent, TurnEvent, UsageEvent } from './model.ts';
import { checkPeriod } from './periods.ts';
import type { StoredEvent, UsageStore } from './ports.ts';

/** Exports of one tenant's usage. */
export interface UsageExports {
  /** An address at which whoever has it may download the export for a few minutes. @throws BAD_USER_INPUT as for `usageSummary`. */
  link(request: ExportRequest): { readonly url: string; readonly expiresAt: string };
  /**
   * The export as text, in pieces of some 64 KB that are made as they are read; it reads no further ahead than a page. With
   * `after`, the id of a row, it goes on right behind that row, without a header. @throws BAD_USER_INPUT before anything is read.
   */
  text(request: ExportRequest, after: string | null): AsyncIterable<string>;
}

export interface UsageExportsDependencies {
  readonly scope: TenantScope;
  readonly store: Pick<UsageStore, 'ordered'>;
  readonly links: ExportLinks;
  readonly addressOf: (link: string) => string;
}

/** Pieces are gathered up to about this size: a write for every row would be slow. */
const PIECE_CHARACTERS = 65_536;
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

export function createUsageExports({ scope, store, links, addressOf }: UsageExportsDependencies): UsageExports {
  function checkAfter(after: string, { start, end }: ExportRequest) {
    if (!ROW_ID.test(after)) throw badInput('`after` must be the id of a row.', 'after');
    const time = ulidTime(after);
    if (time < start.getTime() || time >= end.getTime())
      throw badInput('`after` must be the id of a row of this period.', 'after');
  }

  async function* piecesOf({ start, end, format }: ExportRequest, after: string | null) {
    const { header, row } = FORMATS[format];
    const period = { startMs: start.getTime(), endMs: end.getTime(), after };
    let piece = after === null ? header : '';
    for await (const stored of store.ordered(period)) {
      piece += row(stored);
      if (piece.length < PIECE_CHARACTERS) continue;
      yield piece;
      piece = '';
    }
    if (piece !== '') yield piece;
  }

  return {
    link(request) {
      checkPeriod(request.start, request.end);
      const { link, expiresAt } = links.seal({ scope, request });
      return { url: addressOf(link), expiresAt: isoTime(expiresAt) };
    },

    text(request, after) {
      checkPeriod(request.start, request.end);
      if (after !== null) checkAfter(after, request);
      return piecesOf(request, after);
    },
  };
}
