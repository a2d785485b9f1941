import type { AgentCatalogue } from '../agents/catalogue.ts';
import type { Origin } from '../auth/ports.ts';
import type { Standing } from '../auth/standing.ts';
import type { Identity, RequestContext } from '../context.ts';
import { AppError } from '../kernel/errors.ts';
import type { ApiKeyAuthentication } from '../partners/authentication.ts';
import type { Principal } from '../tenancy/principal.ts';
import type { OriginCheck } from './origins.ts';

/** What a request says of its sender, over HTTP in headers and over a WebSocket in the payload of `connection_init`. */
export interface Sender {
  readonly authorization: string | null;
  readonly apiKey: string | null;
  readonly tenant: string | null;
  readonly requestId: string;
  /** Of the page that sends it; null where none does, or one of this server's own. */
  readonly origin: string | null;
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

const invalid = (): AppError =>
  new AppError('UNAUTHENTICATED', 'The authorization header must be `Bearer <access token>`.');

const ambiguous = (): AppError =>
  new AppError('UNAUTHENTICATED', 'Send either `authorization` or `x-api-key`, not both.');

/** Finds out whose an access token is: one of ours, or of an issuer of a tenant. */
export interface TokenVerifier {
  /** @throws UNAUTHENTICATED */
  verify(token: string, origin: Origin): Promise<Principal>;
}

export interface ContextOptions {
  readonly tokens: TokenVerifier;
  readonly apiKeys: Pick<ApiKeyAuthentication, 'principalOf'>;
  readonly standing: Standing;
  readonly checkOrigin: OriginCheck;
  readonly agents: AgentCatalogue;
}

export function createContexts({ tokens, apiKeys, standing, checkOrigin, agents }: ContextOptions): {
  readonly contextOf: ContextBuilder;
  readonly renewed: ContextRenewal;
} {
  function tokenHolder(authorization: string, { ipAddress, userAgent }: Sender): Promise<Principal> {
    const token = BEARER.exec(authorization)?.[1];
    if (!token || token.length > TOKEN_CHARACTERS_MAX) throw invalid();
    return tokens.verify(token, { ipAddress, userAgent });
  }

  /** Whoever sends both means one of them, and nobody can tell which. */
  function principalOf(sender: Sender): Promise<Principal> | null {
    const { authorization, apiKey, ipAddress } = sender;
    if (authorization !== null && apiKey !== null) throw ambiguous();
    if (apiKey !== null) return apiKeys.principalOf(apiKey, ipAddress);
    return authorization === null ? null : tokenHolder(authorization, sender);
  }

  /** Who somebody is, if what they prove it with still counts. */
  async function identify(
    prove: () => Principal | Promise<Principal> | null,
    origin: string | null,
  ): Promise<Identity> {
    try {
      const principal = await prove();
      if (principal === null) return { principal: null, fault: null };
      await standing.check(principal);
      await checkOrigin(principal, origin);
      return { principal, fault: null };
    } catch (error) {
      return { principal: null, fault: error instanceof Error ? error : new Error(String(error)) };
    }
  }

  return {
    contextOf: async (sender, gone) => ({
      requestId: sender.requestId,
      identity: await identify(() => principalOf(sender), sender.origin),
      namedTenant: sender.tenant,
      origin: sender.origin,
      ipAddress: sender.ipAddress,
      userAgent: sender.userAgent,
      event: false,
      bill: null,
      signal: gone,
      agents,
    }),
    async renewed(context) {
      const { principal } = context.identity;
      return principal ? { ...context, identity: await identify(() => principal, context.origin) } : { ...context };
    },
  };
}
