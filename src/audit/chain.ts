import { createHmac, hkdfSync } from 'node:crypto';
import type { AuditEntry, ChainedEntry, Link } from './model.ts';

/** Names what the key is for, and the form of what is signed. */
const PURPOSE = 'bedrock-graphql audit trail 1';

/** Signs with a key of its own, derived from the installation's secret (RFC 5869); the result is base64url. */
export type Sign = (parts: readonly unknown[]) => string;

export function createSign(secret: string): Sign {
  const key = Buffer.from(hkdfSync('sha256', secret, '', PURPOSE, 32));
  return (parts) => createHmac('sha256', key).update(JSON.stringify(parts)).digest('base64url');
}

const byName = ([a]: readonly [string, unknown], [b]: readonly [string, unknown]) => (a < b ? -1 : 1);

/** The MAC of an entry at its place: of everything in it, in one order and one spelling. */
export function macOf(sign: Sign, entry: AuditEntry & Omit<Link, 'mac'>): string {
  const { tenantId, id, at, actorId, action, resource, result, ipAddress, userAgent, requestId, details } = entry;
  const { writer, sequence, previous } = entry;
  return sign([
    ...['entry', tenantId, writer, sequence, previous],
    ...[id, at, actorId, action, resource, result, ipAddress, userAgent, requestId],
    Object.entries(details).sort(byName),
  ]);
}

/** Puts an entry behind the last one of its chain. */
export function chained(sign: Sign, writer: string, last: ChainedEntry | null, entry: AuditEntry): ChainedEntry {
  const place = { ...entry, writer, sequence: (last?.sequence ?? 0) + 1, previous: last?.mac ?? '' };
  return { ...place, mac: macOf(sign, place) };
}
