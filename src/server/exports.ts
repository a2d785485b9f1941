import { Readable } from 'node:stream';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { caller, requireRole } from '../../directives/caller.ts';
import { resolvers } from '../../resolvers/index.ts';
import type { ContextBinder, RequestContext, TenantServices } from '../context.ts';
import { badInput } from '../kernel/errors.ts';
import { isOperator, type Role } from '../tenancy/principal.ts';
import type { ExportLinks } from '../usage/export-links.ts';
import type { ExportFormat, ExportRequest } from '../usage/model.ts';
import { formatError, isExpected, retryAfterSeconds, statusOf, withRequestId } from './format-error.ts';
import { goneSignal, senderOf } from './http-request.ts';
import { logUnexpected, type Logger } from './log.ts';
import type { ContextBuilder, ContextRenewal } from './request-context.ts';

const PATH = '/exports/usage';
/** The roles of `createUsageExport`: a link allows nothing that its maker may not do directly. */
const ROLES: readonly Role[] = ['TENANT_ADMIN', 'PLATFORM_OPERATOR'];
/** A reader who takes nothing for so long is given up. What was sent is theirs; they go on behind it. */
const STALLED_MS = 120_000;

const FORMATS: ReadonlyMap<string, ExportFormat> = new Map([
  ['csv', 'CSV'],
  ['jsonl', 'JSONL'],
]);
const CONTENT_TYPES = {
  CSV: (after: string | null) => `text/csv; charset=utf-8; header=${after === null ? 'present' : 'absent'}`,
  JSONL: () => 'application/jsonl; charset=utf-8',
} as const;

export interface ExportsOptions {
  readonly contextOf: ContextBuilder;
  readonly renewed: ContextRenewal;
  readonly binder: ContextBinder;
  readonly links: ExportLinks;
  readonly log: Logger;
  readonly stalledMs?: number;
}

/** The path at which a link is followed. */
export const exportAddress = (link: string): string => `${PATH}?link=${link}`;

type Parameters = Readonly<Record<string, string>>;

/** What is asked for, and in whose tenant. */
interface Order {
  readonly tenant: TenantServices;
  readonly request: ExportRequest;
  readonly after: string | null;
}

/** The parameters of an address. What is misspelt or said twice is refused: half of what was meant would look like all of it. */
function parametersOf({ query }: FastifyRequest): Parameters {
  const given = query as Readonly<Record<string, string | string[]>>;
  const known = 'link' in given ? ['link', 'after'] : ['start', 'end', 'format', 'after'];
  const unknown = Object.keys(given).find((name) => !known.includes(name));
  if (unknown !== undefined) throw badInput(`There are no other parameters than ${known.join(', ')} here.`, unknown);
  const twice = Object.keys(given).find((name) => typeof given[name] !== 'string');
  if (twice !== undefined) throw badInput(`Give \`${twice}\` once.`, twice);
  return given as Parameters;
}

function timeOf(parameters: Parameters, name: string): Date {
  try {
    return resolvers.DateTime?.parseValue(parameters[name]) as Date;
  } catch {
    throw badInput(`\`${name}\` must be a time like 2026-11-01T00:00:00Z.`, name);
  }
}

function requestOf(parameters: Parameters): ExportRequest {
  const format = FORMATS.get(parameters['format'] ?? 'csv');
  if (format === undefined) throw badInput('`format` is csv or jsonl.', 'format');
  return { start: timeOf(parameters, 'start'), end: timeOf(parameters, 'end'), format };
}

/** `usage-acme-20261101T000000000Z-20261201T000000000Z.csv` */
function fileName({ tenant, request }: Order): string {
  const [start, end] = [request.start, request.end].map((time) => time.toISOString().replaceAll(/[-:.]/g, ''));
  return `usage-${tenant.scope.tenantId}-${start}-${end}.${request.format.toLowerCase()}`;
}

/** Reads the first piece, so that what fails before anything was sent is still a plain error; then all of them. */
async function begun(pieces: AsyncIterable<string>): Promise<AsyncIterable<string>> {
  const iterator = pieces[Symbol.asyncIterator]();
  const first = await iterator.next();
  return (async function* () {
    try {
      for (let piece = first; !piece.done; piece = await iterator.next()) yield piece.value;
    } finally {
      await iterator.return?.();
    }
  })();
}

/**
 * `GET /exports/usage`: a tenant's raw usage events, for the same tokens as `/graphql` or by a link. It streams: a client that reads slowly
 * slows the reading of the store, one that leaves ends it. Nothing is kept for a download: whoever was cut off asks for the
 * rest by the id of the last row they have.
 */
export function serveExports(app: FastifyInstance, options: ExportsOptions): void {
  const { contextOf, renewed, binder, links, log, stalledMs = STALLED_MS } = options;

  /** By a link everything is as if its maker had asked, credentials or not: their session, their role, their tenant and its state count now. */
  async function orderOf(asked: RequestContext, parameters: Parameters): Promise<Order> {
    const { link, after = null } = parameters;
    const grant = link === undefined ? null : links.open(link);
    const context = grant
      ? await renewed({ ...asked, identity: { principal: grant.scope.principal, fault: null } })
      : asked;
    const principal = caller(context);
    requireRole(principal, ROLES);
    if (!grant) return { tenant: await binder.bindTenant(context, principal), request: requestOf(parameters), after };
    const namedTenant = isOperator(principal) ? grant.scope.tenantId : null;
    const tenant = await binder.bindTenant({ ...context, namedTenant }, principal);
    return { tenant, request: grant.request, after };
  }

  function refuse(context: RequestContext, reply: FastifyReply, error: unknown) {
    if (!isExpected(error)) logUnexpected(log, context, error);
    const { message } = error instanceof Error ? error : { message: '' };
    const shown = withRequestId(formatError({ message }, error), context.requestId);
    const seconds = retryAfterSeconds([shown]);
    if (seconds !== null) void reply.header('retry-after', String(seconds));
    return reply.code(statusOf([shown], true)).send({ errors: [shown] });
  }

  function record(context: RequestContext, order: Order | null, error: unknown) {
    const scope = order?.tenant.scope ?? null;
    binder.audit(context, {
      ...{ action: 'usage.export.download', resource: 'usage', named: null, error },
      ...{ principal: scope?.principal ?? context.identity.principal, tenantId: scope?.tenantId ?? null },
      details: order
        ? { ...order.request, start: order.request.start.toISOString(), end: order.request.end.toISOString() }
        : {},
    });
  }

  function logEnd(context: RequestContext, { tenant, request }: Order, body: Readable) {
    const { tenantId, principal } = tenant.scope;
    const { requestId, ipAddress } = context;
    body.on('error', (error) => logUnexpected(log, context, error));
    body.on('close', () => {
      const outcome = body.errored ? 'failed' : body.readableEnded ? 'sent' : 'left';
      log.info({ requestId, tenantId, userId: principal.userId, ipAddress, export: { ...request, outcome } }, 'export');
    });
  }

  app.get(PATH, { exposeHeadRoute: false }, async (request, reply) => {
    const context = await contextOf(senderOf(request), goneSignal(reply));
    try {
      const order = await orderOf(context, parametersOf(request));
      const pieces = await begun(order.tenant.exports.text(order.request, order.after));
      const body = Readable.from(pieces, { highWaterMark: 1 });
      record(context, order, null);
      logEnd(context, order, body);
      reply.raw.setTimeout(stalledMs, () => reply.raw.destroy());
      return reply
        .header('content-type', CONTENT_TYPES[order.request.format](order.after))
        .header('content-disposition', `attachment; filename="${fileName(order)}"`)
        .send(body);
    } catch (error) {
      record(context, null, error);
      return refuse(context, reply, error);
    }
  });
}
