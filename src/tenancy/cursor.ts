import { createHmac, timingSafeEqual } from 'node:crypto';
import { badInput } from '../kernel/errors.ts';
import type { TenantId } from './tenant-id.ts';

const MAC_BYTES = 16;

/** Cursors of one tenant's lists: a position and a signature over the tenant, the list and the position. */
export interface Cursors {
  seal(list: string, position: string): string;
  /** The position, or null for no cursor. @throws BAD_USER_INPUT for a cursor that was altered, or made for another tenant or list. */
  open(list: string, cursor: string | null): string | null;
}

export function createCursors(secret: string, tenantId: TenantId): Cursors {
  const sign = (list: string, position: string): Buffer =>
    createHmac('sha256', secret)
      .update(JSON.stringify([tenantId, list, position]))
      .digest()
      .subarray(0, MAC_BYTES);

  return {
    seal: (list, position) =>
      `${Buffer.from(position).toString('base64url')}.${sign(list, position).toString('base64url')}`,
    open(list, cursor) {
      if (cursor === null) return null;
      const [position = '', mac = ''] = cursor
        .split('.')
        .map((part) => Buffer.from(part, 'base64url').toString('latin1'));
      const given = Buffer.from(mac, 'latin1');
      const text = Buffer.from(position, 'latin1').toString();
      if (given.length !== MAC_BYTES || !timingSafeEqual(given, sign(list, text))) {
        throw badInput('This cursor does not belong to this list.', 'cursor');
      }
      return text;
    },
  };
}
