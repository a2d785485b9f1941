import { createHmac, hkdfSync, timingSafeEqual } from 'node:crypto';
import type { Clock } from '../kernel/clock.ts';
import { AppError } from '../kernel/errors.ts';
import type { Principal } from '../tenancy/principal.ts';
import type { TenantScope } from '../tenancy/scope.ts';
import { parseTenantId } from '../tenancy/tenant-id.ts';
import type { ExportOrder } from './model.ts';

export const LINK_MINUTES = 5;
/** A link of ours has well under a thousand characters; what is longer is not worth verifying. */
const LINK_CHARACTERS_MAX = 2_048;
/** Names what the key is for, and the form of what it signs: a link of another form is no link. */
const PURPOSE = 'bedrock-graphql export link 4';

/** What a link allows: this one export, to whoever holds it, as if it were the one who asked for it. */
export interface ExportGrant {
  readonly scope: TenantScope;
  readonly order: ExportOrder;
}

/** Links to exports, as text for a query string. */
export interface ExportLinks {
  seal(grant: ExportGrant): { readonly link: string; readonly expiresAt: number };
  /** @throws UNAUTHENTICATED for a link that has expired, was altered, or is none of ours. */
  open(link: string): ExportGrant;
}

interface Sealed extends Pick<Principal, 'userId' | 'roles' | 'credential'> {
  readonly tenantId: string;
  /** Whether the tenant is the caller's own, or the one an operator acted in. */
  readonly own: boolean;
  /** The order, with its times as text. */
  readonly order: SealedOrder;
  readonly expiresAt: number;
}

type SealedOrder<O = ExportOrder> = O extends unknown
  ? { readonly [K in keyof O]: O[K] extends Date ? string : O[K] }
  : never;

const opened = (order: SealedOrder): ExportOrder =>
  order.kind === 'tenant' ? order : { ...order, start: new Date(order.start), end: new Date(order.end) };

export const linkRefused = (): AppError => new AppError('UNAUTHENTICATED', 'The link is not valid, or has expired.');

/**
 * Links are signed with a key of their own, derived from the secret (RFC 5869): no other signature of this installation is one
 * of a link, so no access token or cursor passes for a link, nor a link for one of those. Every instance has the same key.
 */
export function createExportLinks(secret: string, clock: Clock): ExportLinks {
  const key = Buffer.from(hkdfSync('sha256', secret, '', PURPOSE, 32));
  const signed = (payload: string): string =>
    `${payload}.${createHmac('sha256', key).update(payload).digest('base64url')}`;

  function payloadOf(link: string): Sealed {
    const [payload = ''] = link.split('.');
    const [given, genuine] = [Buffer.from(link), Buffer.from(signed(payload))];
    if (given.length !== genuine.length || !timingSafeEqual(given, genuine)) throw linkRefused();
    return JSON.parse(Buffer.from(payload, 'base64url').toString()) as Sealed;
  }

  return {
    seal({ scope: { tenantId, principal }, order }) {
      const expiresAt = clock.now() + LINK_MINUTES * 60_000;
      const { userId, roles, credential } = principal;
      const own = principal.tenantId !== null;
      const sealed = { tenantId, own, userId, roles, credential, order, expiresAt }; // JSON has its times as text
      return { link: signed(Buffer.from(JSON.stringify(sealed)).toString('base64url')), expiresAt };
    },

    open(link) {
      if (link.length > LINK_CHARACTERS_MAX) throw linkRefused();
      const { tenantId: slug, own, userId, roles, credential, order, expiresAt } = payloadOf(link);
      const tenantId = parseTenantId(slug);
      if (tenantId === null || expiresAt <= clock.now()) throw linkRefused();
      // Who it was is all that a link says of them: their name and address have no place in a URL.
      const home = own ? tenantId : null;
      const principal = { userId, name: '', email: null, roles, tenantId: home, credential, expiresAt };
      return { scope: { tenantId, principal }, order: opened(order) };
    },
  };
}
