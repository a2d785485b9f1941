import { randomUUID } from 'node:crypto';
import type { AgentCatalogue } from '../agents/catalogue.ts';
import type { AccessTokens } from '../auth/ports.ts';
import type { Identity, RequestContext } from '../context.ts';
import { AppError } from '../kernel/errors.ts';

/** What a request says of its sender, over HTTP in headers and over a WebSocket in the payload of `connection_init`. */
export interface Sender {
  readonly authorization: string | null;
  readonly tenant: string | null;
  readonly requestId: string | null;
  readonly ipAddress: string | null;
  readonly userAgent: string | null;
}

/** The one way in which a request becomes a context, whatever it came over. It never throws: a bad credential is a fault in the identity. */
export type ContextBuilder = (sender: Sender) => Promise<RequestContext>;

/** An access token of ours has well under 2,000 characters; what is longer is not worth verifying. */
const TOKEN_CHARACTERS_MAX = 8_192;
const BEARER = /^Bearer +(\S+) *$/i;
/** What is taken over from a client or proxy as the id of a request, to be found again in the log. */
const REQUEST_ID = /^[\w.-]{8,64}$/;

const invalid = (): AppError =>
  new AppError('UNAUTHENTICATED', 'The authorization header must be `Bearer <access token>`.');

export function createContextBuilder(tokens: Pick<AccessTokens, 'verify'>, agents: AgentCatalogue): ContextBuilder {
  async function identify(authorization: string | null): Promise<Identity> {
    if (authorization === null) return { principal: null, fault: null };
    const token = BEARER.exec(authorization)?.[1];
    if (!token || token.length > TOKEN_CHARACTERS_MAX) return { principal: null, fault: invalid() };
    try {
      return { principal: await tokens.verify(token), fault: null };
    } catch (error) {
      return { principal: null, fault: error instanceof AppError ? error : invalid() };
    }
  }

  return async ({ authorization, tenant, requestId, ipAddress, userAgent }) => ({
    requestId: requestId !== null && REQUEST_ID.test(requestId) ? requestId : randomUUID(),
    identity: await identify(authorization),
    namedTenant: tenant,
    ipAddress,
    userAgent,
    event: false,
    agents,
  });
}
