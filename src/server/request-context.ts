import { randomUUID } from 'node:crypto';
import type { AgentCatalogue } from '../agents/catalogue.ts';
import type { AccessTokens } from '../auth/ports.ts';
import type { Standing } from '../auth/standing.ts';
import type { Identity, RequestContext } from '../context.ts';
import { AppError } from '../kernel/errors.ts';
import type { Principal } from '../tenancy/principal.ts';

/** What a request says of its sender, over HTTP in headers and over a WebSocket in the payload of `connection_init`. */
export interface Sender {
  readonly authorization: string | null;
  readonly tenant: string | null;
  readonly requestId: string | null;
  readonly ipAddress: string | null;
  readonly userAgent: string | null;
}

/** The one way in which a request becomes a context, whatever it came over; `gone` aborts when its sender has gone. It never throws: a bad credential is a fault in the identity. */
export type ContextBuilder = (sender: Sender, gone: AbortSignal) => Promise<RequestContext>;

/** The context of somebody who is still here, made anew: whether their credential still counts is looked at again. */
export type ContextRenewal = (context: RequestContext) => Promise<RequestContext>;

/** An access token of ours has well under 2,000 characters; what is longer is not worth verifying. */
const TOKEN_CHARACTERS_MAX = 8_192;
const BEARER = /^Bearer +(\S+) *$/i;
/** What is taken over from a client or proxy as the id of a request, to be found again in the log. */
const REQUEST_ID = /^[\w.-]{8,64}$/;

const invalid = (): AppError =>
  new AppError('UNAUTHENTICATED', 'The authorization header must be `Bearer <access token>`.');

export interface ContextOptions {
  readonly tokens: Pick<AccessTokens, 'verify'>;
  readonly standing: Standing;
  readonly agents: AgentCatalogue;
}

export function createContexts({ tokens, standing, agents }: ContextOptions): {
  readonly contextOf: ContextBuilder;
  readonly renewed: ContextRenewal;
} {
  function principalOf(authorization: string): Promise<Principal> {
    const token = BEARER.exec(authorization)?.[1];
    if (!token || token.length > TOKEN_CHARACTERS_MAX) throw invalid();
    return tokens.verify(token);
  }

  /** Who somebody is, if what they prove it with still counts. */
  async function identify(prove: () => Principal | Promise<Principal>): Promise<Identity> {
    try {
      const principal = await prove();
      await standing.check(principal);
      return { principal, fault: null };
    } catch (error) {
      return { principal: null, fault: error instanceof Error ? error : new Error(String(error)) };
    }
  }

  return {
    contextOf: async ({ authorization, tenant, requestId, ipAddress, userAgent }, gone) => ({
      requestId: requestId !== null && REQUEST_ID.test(requestId) ? requestId : randomUUID(),
      identity:
        authorization === null ? { principal: null, fault: null } : await identify(() => principalOf(authorization)),
      namedTenant: tenant,
      ipAddress,
      userAgent,
      event: false,
      bill: null,
      signal: gone,
      agents,
    }),
    async renewed(context) {
      const { principal } = context.identity;
      return principal ? { ...context, identity: await identify(() => principal) } : { ...context };
    },
  };
}
