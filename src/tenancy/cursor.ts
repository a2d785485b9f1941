import { createHmac, timingSafeEqual } from 'node:crypto';
import { badInput } from '../kernel/errors.ts';
import type { PageRequest } from '../kernel/page.ts';
import type { TenantId } from './tenant-id.ts';

const MAC_BYTES = 16;

/** Cursors of one tenant's lists: a position and a signature over the tenant, the list and the position. */
export interface Cursors {
  seal(list: string, position: string): string;
  /** The position of a page request's cursor, or null without one. @throws BAD_USER_INPUT for a cursor that was altered, or made for another tenant or list. */
  open(list: string, request: Pick<PageRequest, 'direction' | 'cursor'>): string | null;
}

export function createCursors(secret: string, tenantId: TenantId): Cursors {
  function seal(list: string, position: string): string {
    const mac = createHmac('sha256', secret)
      .update(JSON.stringify([tenantId, list, position]))
      .digest();
    return `${Buffer.from(position).toString('base64url')}.${mac.subarray(0, MAC_BYTES).toString('base64url')}`;
  }

  return {
    seal,
    open(list, { cursor, direction }) {
      if (cursor === null) return null;
      const position = Buffer.from(cursor.split('.')[0] ?? '', 'base64url').toString();
      // Sealed again and compared as text, so that a cursor has one spelling only.
      const [given, genuine] = [Buffer.from(cursor), Buffer.from(seal(list, position))];
      if (given.length !== genuine.length || !timingSafeEqual(given, genuine)) {
        throw badInput('This cursor does not belong to this list.', direction === 'forward' ? 'after' : 'before');
      }
      return position;
    },
  };
}
