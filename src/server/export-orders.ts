import type { FastifyRequest } from 'fastify';
import { resolvers } from '../../resolvers/index.ts';
import type { ExportFormat, ExportKind, ExportOrder, OrderOf } from '../exports/model.ts';
import { badInput } from '../kernel/errors.ts';

type Parameters = Readonly<Record<string, string>>;

const FORMATS: ReadonlyMap<string, ExportFormat> = new Map([
  ['csv', 'CSV'],
  ['jsonl', 'JSONL'],
]);

/** How each kind of export is asked for: the parameters in the place of a link, and the order they make. */
const KINDS: {
  readonly [K in ExportKind]: { readonly names: readonly string[]; readonly order: (given: Parameters) => OrderOf<K> };
} = {
  usage: {
    names: ['start', 'end', 'format'],
    order: (given) => ({ kind: 'usage', ...periodOf(given), format: formatOf(given) }),
  },
  audit: { names: ['start', 'end'], order: (given) => ({ kind: 'audit', ...periodOf(given) }) },
  tenant: { names: [], order: () => ({ kind: 'tenant' }) },
};

export const EXPORT_KINDS = Object.keys(KINDS) as readonly ExportKind[];

/** What an address asks for: by a link, or in so many words. */
export interface AskedExport {
  readonly link: string | null;
  readonly order: () => ExportOrder;
  readonly after: string | null;
}

/** Reads an address. What is misspelt or said twice is refused: half of what was meant would look like all of it. @throws BAD_USER_INPUT */
export function askedExport(kind: ExportKind, { query }: FastifyRequest): AskedExport {
  const given = query as Readonly<Record<string, string | string[]>>;
  const { names, order } = KINDS[kind];
  const known = ['link' in given ? ['link'] : names, kind === 'tenant' ? [] : ['after']].flat();
  const unknown = Object.keys(given).find((name) => !known.includes(name));
  if (unknown !== undefined) {
    const others = known.length > 0 ? `no other parameters than ${known.join(', ')}` : 'no parameters';
    throw badInput(`There are ${others} here.`, unknown);
  }
  const twice = Object.keys(given).find((name) => typeof given[name] !== 'string');
  if (twice !== undefined) throw badInput(`Give \`${twice}\` once.`, twice);
  const parameters = given as Parameters;
  return { link: parameters['link'] ?? null, after: parameters['after'] ?? null, order: () => order(parameters) };
}

const periodOf = (given: Parameters) => ({ start: timeOf(given, 'start'), end: timeOf(given, 'end') });

function timeOf(parameters: Parameters, name: string): Date {
  try {
    return resolvers.DateTime?.parseValue(parameters[name]) as Date;
  } catch {
    throw badInput(`\`${name}\` must be a time like 2026-11-01T00:00:00Z.`, name);
  }
}

function formatOf(given: Parameters): ExportFormat {
  const format = FORMATS.get(given['format'] ?? 'csv');
  if (format === undefined) throw badInput('`format` is csv or jsonl.', 'format');
  return format;
}

/** An order as the audit trail has it. */
export const orderDetails = (order: ExportOrder): Readonly<Record<string, string>> =>
  Object.fromEntries(
    Object.entries(order).flatMap(([name, value]: [string, string | Date]) =>
      name === 'kind' ? [] : [[name, value instanceof Date ? value.toISOString() : value]],
    ),
  );

const formatIn = (order: ExportOrder): ExportFormat => (order.kind === 'usage' ? order.format : 'JSONL');

export function contentTypeOf(order: ExportOrder, after: string | null): string {
  if (formatIn(order) === 'JSONL') return 'application/jsonl; charset=utf-8';
  return `text/csv; charset=utf-8; header=${after === null ? 'present' : 'absent'}`;
}

/** `usage-acme-20261101T000000000Z-20261201T000000000Z.csv` */
export function fileNameOf(order: ExportOrder, tenantId: string): string {
  const times = order.kind === 'tenant' ? [] : [order.start, order.end];
  const compact = times.map((time) => time.toISOString().replaceAll(/[-:.]/g, ''));
  return `${[order.kind, tenantId, ...compact].join('-')}.${formatIn(order).toLowerCase()}`;
}
