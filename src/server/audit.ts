import type { AuditFact } from '../audit/model.ts';
import type { AuthLog } from '../auth/ports.ts';
import type { FederationLog } from '../federation/ports.ts';
import type { Audit, RequestContext } from '../context.ts';
import { isOperator } from '../tenancy/principal.ts';
import { parseTenantId, PLATFORM, type TenantId } from '../tenancy/tenant-id.ts';
import { answerId } from '../conversations/turn-end.ts';
import type { TurnLog } from '../conversations/generation.ts';
import { appErrorOf } from './format-error.ts';

/** Longer ones are cut: a header is whatever a client likes. */
const USER_AGENT_CHARACTERS = 256;
/** A slug by itself, or the one that a refresh token or a password token carries. */
const NAMED_TENANT = /^(?:[rp]t\.)?([a-z0-9-]{3,40})(?:\.|$)/;

export interface AuditOptions {
  readonly record: (fact: AuditFact) => void;
  /** Whether there is such a tenant; an answer that is some time old will do. */
  readonly exists: (tenantId: TenantId) => Promise<boolean>;
}

const cut = (userAgent: string | null) => userAgent?.slice(0, USER_AGENT_CHARACTERS) ?? null;

/** The part of an entry that says who sent a request, from where. */
export const senderIn = ({ ipAddress, userAgent, requestId }: RequestContext) => ({
  ipAddress,
  userAgent: cut(userAgent),
  requestId,
});

/** Records acts in the trail they belong to. */
export interface Auditor {
  readonly audit: Audit;
  /** Resolves once everything told so far is recorded. */
  idle(): Promise<void>;
}

export function createAuditor({ record, exists }: AuditOptions): Auditor {
  const looking = new Set<Promise<void>>();

  /** Of somebody who proves nothing: the tenant they name if there is one. Anything else would let them begin trails as they please. */
  async function trailNamed(named: string): Promise<TenantId> {
    const tenantId = parseTenantId(NAMED_TENANT.exec(named)?.[1] ?? '');
    return tenantId !== null && (await exists(tenantId).catch(() => false)) ? tenantId : PLATFORM;
  }

  const audit: Audit = (context, { action, resource, details, principal, tenantId, named, error }) => {
    const inTrail = (trail: TenantId) =>
      record({
        ...{ tenantId: trail, actorId: principal?.userId ?? null, action, resource },
        ...{ result: error === null ? 'SUCCESS' : 'FAILURE', ...senderIn(context) },
        details: {
          ...details,
          ...(error !== null && { code: appErrorOf(error)?.code ?? 'INTERNAL' }),
          ...(principal && isOperator(principal) && { operator: true }),
        },
      });
    if (tenantId !== null || principal !== null || named === null)
      return inTrail(tenantId ?? principal?.tenantId ?? PLATFORM);
    const look = trailNamed(named).then(inTrail);
    looking.add(look);
    void look.finally(() => looking.delete(look));
  };

  return {
    audit,
    async idle() {
      while (looking.size > 0) await Promise.all(looking);
    },
  };
}

/** Also records an answer that was withheld because it rested on what is not the tenant's. */
export const recordBreaches = (log: TurnLog, record: AuditOptions['record']): TurnLog => ({
  ...log,
  turnFailed(turn, error) {
    log.turnFailed(turn, error);
    if (appErrorOf(error)?.code !== 'ISOLATION_VIOLATION') return;
    record({
      ...{ tenantId: turn.tenantId, actorId: turn.ownerId, action: 'message.withhold' },
      ...{ resource: `message/${answerId(turn)}`, result: 'FAILURE' },
      ...{ ipAddress: null, userAgent: null, requestId: null, details: { code: 'ISOLATION_VIOLATION' } },
    });
  },
});

/** Also records a session that was ended because one of its refresh tokens was presented twice. */
export const recordReuse = (log: AuthLog, record: AuditOptions['record']): AuthLog => ({
  refreshTokenReused(session) {
    log.refreshTokenReused(session);
    const { home, userId, sessionId, origin } = session;
    record({
      ...{
        tenantId: home,
        actorId: userId,
        action: 'session.reuse',
        resource: `session/${sessionId}`,
        result: 'FAILURE',
      },
      ...{ ipAddress: origin.ipAddress, userAgent: cut(origin.userAgent), requestId: null, details: {} },
    });
  },
});

/** Records sign-ins with issuers, which the API learns of by their tokens. */
export const recordFederation = (record: AuditOptions['record']): FederationLog => ({
  signedIn({ tenantId, userId, signInId, issuer, origin }) {
    record({
      ...{ tenantId, actorId: userId, action: 'session.signIn', resource: `session/${signInId}`, result: 'SUCCESS' },
      ...{ ipAddress: origin.ipAddress, userAgent: cut(origin.userAgent), requestId: null, details: { issuer } },
    });
  },
});
