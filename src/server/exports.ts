import { Readable } from 'node:stream';
import type { FastifyInstance, FastifyReply } from 'fastify';
import { caller, requireRole } from '../../directives/caller.ts';
import type { ContextBinder, RequestContext, TenantServices } from '../context.ts';
import { linkRefused, type ExportLinks } from '../exports/links.ts';
import type { ExportKind, ExportOrder } from '../exports/model.ts';
import type { Clock } from '../kernel/clock.ts';
import { isOperator, type Role } from '../tenancy/principal.ts';
import {
  askedExport,
  contentTypeOf,
  EXPORT_KINDS,
  fileNameOf,
  orderDetails,
  type AskedExport,
} from './export-orders.ts';
import { formatError, isExpected, retryAfterSeconds, statusOf, withRequestId } from './format-error.ts';
import { goneSignal, senderOf } from './http-request.ts';
import { logUnexpected, type Logger } from './log.ts';
import { startRechecks } from './rechecks.ts';
import type { ContextBuilder, ContextRenewal } from './request-context.ts';

/** The roles of `createUsageExport`: a link allows nothing that its maker may not do directly. */
const ROLES: readonly Role[] = ['TENANT_ADMIN', 'PLATFORM_OPERATOR'];
/** A reader who takes nothing for so long is given up. What was sent is theirs; they go on behind it. */
const STALLED_MS = 120_000;

export interface ExportsOptions {
  readonly contextOf: ContextBuilder;
  readonly renewed: ContextRenewal;
  readonly binder: ContextBinder;
  readonly links: ExportLinks;
  readonly clock: Clock;
  readonly log: Logger;
  readonly stalledMs?: number;
}

/** The path at which a link is followed. */
export const exportAddress = (kind: ExportKind, link: string): string => `${pathOf(kind)}?link=${link}`;
const pathOf = (kind: ExportKind): string => `/exports/${kind}`;

/** What is asked for, and in whose tenant. */
interface Order {
  /** The request as its maker would have sent it. */
  readonly as: RequestContext;
  readonly tenant: TenantServices;
  readonly order: ExportOrder;
  readonly after: string | null;
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
 * `GET /exports/…`: what a tenant owns, for the same tokens as `/graphql` or by a link. It streams: a client that reads slowly
 * slows the reading of the store, one that leaves ends it. Nothing is kept for a download: whoever was cut off asks for the
 * rest by the id of the last row they have.
 */
export function serveExports(app: FastifyInstance, options: ExportsOptions): void {
  const { contextOf, renewed, binder, links, clock, log, stalledMs = STALLED_MS } = options;

  /** What stands before every export, and goes on standing there while it is sent. */
  async function enter(context: RequestContext): Promise<TenantServices> {
    const principal = caller(context);
    requireRole(principal, ROLES);
    return binder.bindTenant(context, principal);
  }

  /** By a link everything is as if its maker had asked, credentials or not: their session, their role, their tenant and its state count now. */
  async function orderOf(context: RequestContext, kind: ExportKind, asked: AskedExport): Promise<Order> {
    const { link, after } = asked;
    const grant = link === null ? null : links.open(link);
    if (grant && grant.order.kind !== kind) throw linkRefused();
    if (!grant) return { as: context, tenant: await enter(context), order: asked.order(), after };
    const { tenantId, principal } = grant.scope;
    const namedTenant = isOperator(principal) ? tenantId : null;
    const as = await renewed({ ...context, namedTenant, identity: { principal, fault: null } });
    return { as, tenant: await enter(as), order: grant.order, after };
  }

  /** A download may take longer than its token or its link is good for, but not longer than its maker may have it. */
  function watch({ as, tenant }: Order, body: Readable) {
    const principal = { ...tenant.scope.principal, expiresAt: Infinity };
    const stop = startRechecks({ clock, log }, principal, async () => {
      try {
        await enter({ ...(await renewed({ ...as, identity: { principal, fault: null } })), event: true });
      } catch (error) {
        if (!isExpected(error)) throw error;
        body.destroy(error as Error);
      }
    });
    body.once('close', stop);
  }

  function refuse(context: RequestContext, reply: FastifyReply, error: unknown) {
    if (!isExpected(error)) logUnexpected(log, context, error);
    const { message } = error instanceof Error ? error : { message: '' };
    const shown = withRequestId(formatError({ message }, error), context.requestId);
    const seconds = retryAfterSeconds([shown]);
    if (seconds !== null) void reply.header('retry-after', String(seconds));
    return reply.code(statusOf([shown], true)).send({ errors: [shown] });
  }

  function record(context: RequestContext, kind: ExportKind, made: Order | null, error: unknown) {
    const scope = made?.tenant.scope ?? null;
    binder.audit(context, {
      ...{ action: `${kind}.export.download`, resource: kind, named: null, error },
      ...{ principal: scope?.principal ?? context.identity.principal, tenantId: scope?.tenantId ?? null },
      details: made ? orderDetails(made.order) : {},
    });
  }

  function logEnd(context: RequestContext, { tenant, order }: Order, body: Readable) {
    const { tenantId, principal } = tenant.scope;
    const { requestId, ipAddress } = context;
    body.on('error', (error) => isExpected(error) || logUnexpected(log, context, error));
    body.on('close', () => {
      const failed = isExpected(body.errored) ? 'refused' : 'failed';
      const outcome = body.errored ? failed : body.readableEnded ? 'sent' : 'left';
      log.info({ requestId, tenantId, userId: principal.userId, ipAddress, export: { ...order, outcome } }, 'export');
    });
  }

  for (const kind of EXPORT_KINDS) {
    app.get(pathOf(kind), { exposeHeadRoute: false }, async (request, reply) => {
      const context = await contextOf(senderOf(request), goneSignal(reply));
      void reply.header('x-request-id', context.requestId).header('cache-control', 'no-store');
      try {
        const made = await orderOf(context, kind, askedExport(kind, request));
        const { tenant, order, after } = made;
        const pieces = await begun(tenant.exports.text(order, after));
        const body = Readable.from(pieces, { highWaterMark: 1 });
        record(context, kind, made, null);
        logEnd(context, made, body);
        watch(made, body);
        reply.raw.setTimeout(stalledMs, () => reply.raw.destroy());
        return reply
          .header('content-type', contentTypeOf(order, after))
          .header('content-disposition', `attachment; filename="${fileNameOf(order, tenant.scope.tenantId)}"`)
          .header('x-content-type-options', 'nosniff')
          .send(body);
      } catch (error) {
        record(context, kind, null, error);
        return refuse(context, reply, error);
      }
    });
  }
}
